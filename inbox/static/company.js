// Who else is here: we say where we are every ten seconds, the stream says where the others are.
import { said } from "./said.js";
const WRITING = 10_000; // milliseconds after the last key
let typed = 0;
let at = "";
const heard = new Set(); // where somebody came or went since the last step: a page on its way may not know it yet
const here = () => document.querySelector("#thread[data-id]")?.dataset.id ?? "";

function told(id, doing) {
  const body = new FormData();
  body.set("doing", doing);
  body.set("csrf_token", document.body.dataset.token);
  return [`/inbox/c/${id}/here`, body];
}

function beat() {
  if (!here() || document.visibilityState !== "visible") return;
  const [url, body] = told(here(), Date.now() - typed < WRITING ? "replying" : "looking");
  fetch(url, { method: "POST", body }).catch(() => {});
}

function moved() {
  if (here() === at) return;
  if (at && !here()) leave();
  at = here();
  if (heard.has(at)) look();
  heard.clear();
  typed = 0;
  beat();
}

function leave() { if (at) navigator.sendBeacon(...told(at, "gone")); }

export function met({ conversation, name, doing }) {
  const row = document.querySelector(`#c-${conversation} .typing`);
  if (row) row.textContent = doing === "replying" ? said("{name} is replying…").replace("{name}", name.split(" ")[0]) : "";
  if (String(conversation) === here()) look();
  else heard.add(String(conversation));
}

const look = () => htmx.ajax("GET", `/inbox/c/${here()}/watching`, { source: "#live", target: "#watching", swap: "innerHTML" });

document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("#reply, #rich")) return;
  const before = typed;
  typed = Date.now();
  if (typed - before > WRITING) beat();
});
document.addEventListener("htmx:after:swap", () => setTimeout(moved, 0));
document.addEventListener("visibilitychange", beat);
addEventListener("pagehide", leave);
setInterval(beat, 10_000);
moved();
