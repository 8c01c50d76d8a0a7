// The inbox's own scripts. htmx swaps what the server renders; these add keys, live updates and what a hand needs.
import "./zone.js";
import "./toast.js";
import "./list.js";
import "./bulk.js";
import "./composer.js";
import "./suggest.js";
import "./stream.js";
import "./keys.js";

// Whatever htmx asks for, the server knows how many rows are on the page, and which conversation comes next.
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  ctx.request.headers["X-Rows"] = document.querySelectorAll("#rows .row").length;
  if (document.getElementById("choice")) ctx.request.headers["X-Addressed"] = "1";
  ctx.request.headers["X-CSRFToken"] = document.body.dataset.token;
  ctx.asked = shown();
  const leaves = ["resolve", "snooze"].includes(ctx.request.submitter?.value) || ctx.sourceElement.closest?.("[data-leaves]");
  if (leaves && ctx.request.body instanceof FormData) {
    const row = document.querySelector('#rows .row[aria-current="true"]')?.parentElement;
    const beside = [row?.nextElementSibling, row?.nextElementSibling?.nextElementSibling, row?.previousElementSibling];
    const next = beside.find((item) => item?.querySelector(".row"))?.querySelector(".row");
    if (next) ctx.request.body.set("next", next.dataset.id);
  }
});

// Somebody who has gone on to another conversation or list is not thrown back by a late answer.
const shown = () => ({ open: document.getElementById("thread")?.dataset.id, list: document.getElementById("rows")?.dataset.view });
const OPEN = ["conversation", "thread-head", "thread-state", "timeline", "context", "composer"];
document.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
  if (ctx.request?.method !== "POST" && ctx.sourceElement?.id !== "live") return;
  const now = shown();
  const late = [...(now.open === ctx.asked?.open ? [] : OPEN), ...(now.list === ctx.asked?.list ? [] : ["rows", "list-n"])];
  if (!late.length) return;
  const kept = tasks.filter((task) => !late.includes(task.target?.id));
  tasks.splice(0, tasks.length, ...kept);
  if (ctx.hx) delete ctx.hx.pushurl;
});

// One menu at a time; it closes when something is chosen, by Escape and by a press elsewhere.
const menus = () => document.querySelectorAll("details.menu[open]");
const close = (menu, refocus) => { menu.open = false; if (refocus) menu.querySelector("summary").focus(); };
document.addEventListener("click", ({ target }) => {
  for (const menu of menus()) if (!menu.contains(target) || target.closest(".menu-list button")) close(menu);
});
document.addEventListener("submit", ({ target }) => { for (const menu of menus()) if (menu.contains(target)) close(menu); }, true);
document.addEventListener("keydown", (event) => {
  const [menu] = menus();
  if (!menu) return;
  if (event.key === "Escape") { event.stopPropagation(); return close(menu, true); }
  const step = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 }[event.key];
  if (!step || (event.key.length === 1 && event.target.matches("input"))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const buttons = [...menu.querySelectorAll(".menu-list button")];
  const at = buttons.indexOf(document.activeElement);
  buttons[(at + step + buttons.length) % buttons.length]?.focus();
}, true);
document.addEventListener("toggle", ({ target }) => {
  if (!target.open) return;
  if (target.matches?.("details.menu")) target.querySelector(".menu-list :is(button, input)")?.focus({ preventScroll: true });
  if (target.matches?.("details.fold")) target.querySelector("input:not([type=hidden])")?.focus();
  const frame = target.matches?.("details.original") && target.querySelector("iframe");
  if (frame && !frame.src) frame.src = frame.dataset.src;
}, true);

document.addEventListener("click", (event) => {
  const images = event.target.closest("[data-images]");
  if (images) {
    event.preventDefault();
    const frame = images.closest("details").querySelector("iframe");
    frame.src = images.href;
    images.remove();
  }
  const closes = event.target.closest("[data-closes]");
  if (closes) document.getElementById(closes.dataset.closes).close();
});
// The sheet is open while there is something in it: the server fills it, and empties it when it has done its work.
const sheet = document.getElementById("merge");
document.addEventListener("htmx:after:swap", () => setTimeout(() => {
  if (!sheet.firstElementChild) sheet.close();
  else if (!sheet.open) sheet.showModal();
}, 0));
sheet.addEventListener("close", () => sheet.replaceChildren());
