// Moving through the list: the chosen row shows at once, its neighbours are fetched before they are asked for.
const KEPT = 10_000;
const cache = new Map();

export const rows = () => [...document.querySelectorAll("#rows .row")];
export const current = () => document.querySelector('#rows .row[aria-current="true"]');

export function move(step) {
  const all = rows();
  const at = all.indexOf(current());
  const row = all[at < 0 ? 0 : at + step];
  if (!row) return;
  row.scrollIntoView({ block: "nearest" });
  row.click();
}

// The row that was chosen last and is still on its way: a live refresh that was asked for before must not take it back.
let going = "";

function choose(row) {
  going = row.dataset.id;
  mark(going);
}

function mark(id) {
  const row = rows().find((one) => one.dataset.id === id);
  if (row === current()) return row;
  current()?.removeAttribute("aria-current");
  row?.setAttribute("aria-current", "true");
  return row;
}

function prefetch(row) {
  if (!row || cache.has(row.href) || navigator.connection?.saveData) return;
  const answer = fetch(row.href, { headers: { "HX-Request": "true", Accept: "text/html" } })
    .then(async (response) => ({ text: await response.text(), status: response.status }))
    .catch(() => cache.delete(row.href));
  cache.set(row.href, { at: Date.now(), answer });
}

export const forget = () => cache.clear();

document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const row = ctx.sourceElement.closest?.(".row");
  if (!row) return forgetAfter(ctx);
  choose(row);
  const known = cache.get(row.href);
  cache.delete(row.href);
  if (known && Date.now() - known.at < KEPT) {
    ctx.fetch = async (url, request) => {
      const answer = await known.answer;
      return answer?.status === 200 ? new Response(answer.text, { headers: { "Content-Type": "text/html" } }) : fetch(url, request);
    };
  }
});

function forgetAfter(ctx) {
  if (ctx.request.method !== "GET") forget();
}

export const openId = () => document.querySelector("#thread[data-id]")?.dataset.id ?? "";

let shown = "";
export function opened() {
  const id = openId();
  if (id === going) going = "";
  const row = mark(going || id);
  if (id === shown || going) return;
  shown = id;
  row?.scrollIntoView({ block: "nearest" });
  document.querySelector("#context:popover-open")?.hidePopover();
  document.querySelector("#nav:popover-open")?.hidePopover();
  const all = rows();
  const at = all.indexOf(row);
  for (const step of [1, -1, 2]) prefetch(all[at + step]);
  markRead();
}

// Read is what was in front of somebody's eyes.
export function markRead() {
  const thread = document.querySelector("#thread[data-id]");
  if (!thread || document.visibilityState !== "visible") return;
  const last = [...document.querySelectorAll("#timeline .msg")].pop()?.dataset.message;
  if (!last || thread.dataset.read === last) return;
  thread.dataset.read = last;
  const body = new FormData();
  body.set("message", last);
  fetch(`/inbox/c/${thread.dataset.id}/read`, { method: "POST", body, headers: { "X-CSRFToken": document.body.dataset.token } })
    .then(() => document.dispatchEvent(new Event("switchyard:read")), () => {});
  rows().find((one) => one.dataset.id === thread.dataset.id)?.classList.remove("unread");
}

// At once: a key that is pressed in between would begin at the top again.
document.addEventListener("htmx:after:swap", () => { mark(going || openId()); setTimeout(opened, 0); });
for (const failed of ["htmx:error", "htmx:response:error"]) document.addEventListener(failed, () => { going = ""; });
document.addEventListener("visibilitychange", markRead);
opened();
