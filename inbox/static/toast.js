// Toasts count down and go; one that is looked at or has the focus stays.
import { said } from "./said.js";
const born = new WeakMap();

function tick() {
  const now = Date.now();
  for (const toast of document.querySelectorAll(".toast")) {
    if (!born.has(toast)) born.set(toast, now);
    const left = Math.ceil(Number(toast.dataset.seconds) - (now - born.get(toast)) / 1000);
    const shown = toast.querySelector("[data-left]");
    if (shown) shown.textContent = Math.max(0, left);
    if (left <= 0 && (shown || !toast.matches(":hover, :focus-within"))) toast.remove();
  }
  for (const ring of document.querySelectorAll(".ring-card")) {
    // The server's clock decides; only the distance is ours to count.
    if (!born.has(ring)) born.set(ring, now - (Date.parse(ring.dataset.now) - Date.parse(ring.dataset.ends)));
    const left = Math.ceil((born.get(ring) - now) / 1000);
    ring.querySelector("[data-left]").textContent = Math.max(0, left);
    if (left <= 0) ring.remove();
  }
}
setInterval(tick, 250);

document.addEventListener("click", ({ target }) => {
  if (target.closest('[data-do="dismiss"]')) target.closest(".toast").remove();
});
// An undone thing's toast has done its work.
document.addEventListener("submit", ({ target }) => { setTimeout(() => target.closest(".toast")?.remove(), 0); });

export function say(text, href = "") {
  const toast = document.createElement("div");
  toast.className = href ? "toast" : "toast alarm";
  toast.dataset.seconds = "10";
  if (!href) toast.setAttribute("role", "alert");
  toast.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (href) toast.append(Object.assign(document.createElement("a"), { href, className: "link", textContent: said("Show") }));
  document.getElementById("toasts").append(toast);
}
// The server did not answer at all; what was typed is still there.
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  if (ctx?.request?.method === "POST") say(said("No connection: nothing was sent. Try again in a moment."));
});

export const undo = () => [...document.querySelectorAll(".toast [data-undo]")].pop()?.click();
