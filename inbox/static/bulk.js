// Several conversations at once: marked by X, by Shift with J, K or a press, or all of the view. Marks outlive live updates.
import { current, move, rows } from "./list.js";
import { said } from "./said.js";

const boxes = () => [...document.querySelectorAll("#rows .pick")];
const boxOf = (row) => row?.parentElement.querySelector(".pick");
const rest = () => document.getElementById("bulk-rest");
let last = null;

export const marked = () => boxes().filter((box) => box.checked).length;

// With all of the view marked, a mark less means: only those that are seen here.
function count() {
  if (!rest()) return;
  const all = boxes();
  // An attribute, because `:has(:checked)` lets the browser look at every row again with each change of the page.
  document.documentElement.toggleAttribute("data-marking", marked() > 0);
  if (marked() < all.length) rest().replaceChildren();
  const more = rest().firstElementChild;
  document.getElementById("bulk-n").textContent = (more?.dataset.more === "" ? said("{count} of more") : "{count}").replace("{count}", more ? more.dataset.n : marked());
  document.getElementById("bulk-all").hidden = Boolean(more);
}

function set(ones, on) {
  for (const box of ones) box.checked = on;
  count();
}

export function mark() {
  last = boxOf(current() ?? rows()[0]);
  if (last) set([last], !last.checked);
}

export function extend(step) {
  const list = rows();
  const at = list.indexOf(current());
  set([list[at], list[at + step]].map(boxOf).filter(Boolean), true);
  move(step);
}

export function all() {
  set(boxes(), true);
  document.getElementById("bulk-all").click();
}

document.addEventListener("click", (event) => {
  const { target } = event;
  if (target.closest('[data-do="unmark"]')) return set(boxes(), false);
  if (target.id === "bulk-all") set(boxes(), true);
  if (!target.matches(".pick")) return;
  const list = boxes();
  if (event.shiftKey && last?.isConnected) {
    const [from, to] = [list.indexOf(last), list.indexOf(target)].sort((a, b) => a - b);
    set(list.slice(from, to + 1), target.checked);
  }
  last = target;
  count();
});
document.addEventListener("bulk-done", ({ detail }) => {
  set(boxes(), false);
  set(boxes().filter((box) => detail.left.includes(box.value)), true);
});
document.addEventListener("htmx:after:swap", () => setTimeout(count, 0));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && marked() && !event.defaultPrevented && !document.querySelector("dialog[open]") && !event.target.matches?.("input:not(.pick), textarea, [contenteditable]")) set(boxes(), false);
});
count();
