// Live: the server tells what happened, we fetch the parts of the page it changed. Also in hidden tabs.
import { say } from "./toast.js";
import { met } from "./company.js";
import { forget, markRead, openId } from "./list.js";
import { said } from "./said.js";

let source = null;
let last = document.body.dataset.after;
let heard = 0;
let running = false;
let again = null;
let timer = 0;
let retry = 0;
let fails = 0;

// The open conversation's panel also lists what else its person wrote.
const isTheirs = (contact) => document.querySelector("#context .person")?.dataset.records.split(" ").includes(String(contact));

const hear = () => { heard = Date.now(); };

function connect() {
  source?.close();
  hear();
  source = new EventSource(`/inbox/stream?after=${last}`);
  source.addEventListener("fact", (event) => {
    hear();
    last = event.lastEventId || last;
    const told = JSON.parse(event.data);
    forget();
    document.dispatchEvent(new Event("switchyard:fact"));
    want(!told.conversation || String(told.conversation) === openId() || isTheirs(told.contact_id));
    if (told.fact === "AgentMentioned" && String(told.agent_id) === document.body.dataset.me) say(said("You were mentioned"), `/inbox/c/${told.conversation}?view=mentions`);
    if (["MessageReceived", "ReplyQueued"].includes(told.fact)) arrived(told);
  });
  source.addEventListener("notice", async ({ data }) => (await import(document.body.dataset.notices)).tell(JSON.parse(data)));
  source.addEventListener("presence", ({ data }) => met(JSON.parse(data)));
  for (const any of ["ping", "presence"]) source.addEventListener(any, hear);
  source.onopen = () => { document.getElementById("offline").hidden = true; };
  source.onerror = () => {
    // EventSource comes back by itself and says where it was; only a refusal ends it.
    setTimeout(() => { document.getElementById("offline").hidden = source.readyState === EventSource.OPEN; }, 3000);
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
}

function want(conversation) {
  again = Boolean(again) || conversation;
  clearTimeout(timer);
  if (!running) timer = setTimeout(refresh, 5);
}

async function refresh() {
  running = true;
  const open = again ? openId() : "";
  again = null;
  const before = fails;
  await htmx.ajax("GET", `/inbox/live${open ? "?open=1" : ""}`, { source: "#live", target: "#live", swap: "none" });
  if (fails === before) fails = 0;
  running = false;
  if (again !== null) want(again);
}

// What could not be fetched is asked for again until it is there: nobody tells it twice. The longer it fails, the rarer.
for (const failed of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(failed, ({ detail: { ctx } }) => {
    if (!ctx?.request?.action.startsWith("/inbox/live")) return;
    clearTimeout(retry);
    retry = setTimeout(want, 2000 * 2 ** Math.min(fails++, 4) * (1 + Math.random()), true);
  });
}

// A message counts as seen by who writes once it has stood before his eyes for a moment, not in the same breath.
function arrived(told) {
  setTimeout(() => {
    markRead();
    const message = document.getElementById(`m${told.message_id}`);
    const form = document.getElementById("composer");
    if (!message || !form || document.visibilityState !== "visible" || !document.hasFocus()) return;
    const box = message.getBoundingClientRect();
    const view = document.getElementById("thread-scroll").getBoundingClientRect();
    if (box.bottom > view.top && box.top < view.bottom) form.elements.seen.value = Math.max(form.elements.seen.value, told.message_id);
  }, 2500);
}

const unreadNow = () => Number(document.getElementById("nav-views")?.dataset.unread ?? 0);

function badge() {
  const unread = unreadNow();
  const title = document.title.replace(/^\(\d+\) /, "");
  const wanted = unread ? `(${unread}) ${title}` : title;
  if (document.title !== wanted) document.title = wanted;
  const icon = document.querySelector("link[rel=icon]");
  icon.dataset.read ??= icon.getAttribute("href");
  const mark = unread ? icon.dataset.unread : icon.dataset.read;
  if (icon.getAttribute("href") !== mark) icon.href = mark;
  navigator.setAppBadge?.(unread).catch(() => {});
}

document.addEventListener("htmx:after:swap", () => setTimeout(badge, 0));
document.addEventListener("switchyard:read", () => { if (unreadNow()) want(false); });
addEventListener("pageshow", (event) => { if (event.persisted) { connect(); want(true); } });
badge();
connect();
// A line can end without a word, as when a laptop slept or went to another network. The server pings four times a minute.
setInterval(() => {
  if (Date.now() - heard < 45_000) return;
  connect();
  source.onerror();
}, 5000);
// Minutes pass too: what is due moves without any news.
setInterval(() => want(false), 60_000);
