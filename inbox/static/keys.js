// One map of keys and what they do.
import { move, rows } from "./list.js";
import { send, write } from "./composer.js";
import { say, undo } from "./toast.js";
import { line } from "./caps.js";
import { all, extend, mark, marked } from "./bulk.js";
import { said } from "./said.js";

// Open at once, so that what is typed while its script comes is not taken for keys.
async function show(name) {
  const dialog = document.getElementById(name);
  dialog.showModal();
  try {
    await import(document.body.dataset[name]);
  } catch {
    dialog.close();
    return say(said("It could not be loaded. Try again in a moment."));
  }
  document.dispatchEvent(new CustomEvent(`switchyard:${name}`, { detail: keys() }));
}
// What is marked is meant before what is open.
const press = (key) => () => document.querySelector(`${marked() ? "#bulk" : "#thread"} [data-key="${key}"]`)?.click();
const search = () => { const field = document.getElementById("q"); field?.focus(); field?.select(); };
const tag = () => {
  if (marked()) return press("t")();
  if (!document.getElementById("tag")?.checkVisibility()) document.getElementById("context")?.showPopover();
  document.getElementById("tag")?.focus();
};
const KEYS = [
  { group: "Move", keys: ["j"], label: "Next conversation", run: () => move(1) },
  { group: "Move", keys: ["k"], label: "Previous conversation", run: () => move(-1) },
  { group: "Move", keys: ["/"], label: "Search", run: search },
  { group: "Mark", keys: ["x"], label: "Mark it", run: mark },
  { group: "Mark", keys: ["J"], label: "And the next", run: () => extend(1) },
  { group: "Mark", keys: ["K"], label: "And the previous", run: () => extend(-1) },
  { group: "Mark", keys: ["X"], label: "All of this view", run: all },
  { group: "Act", keys: ["r"], label: "Reply", run: () => write("reply") },
  { group: "Act", keys: ["n"], label: "Note", run: () => write("note") },
  { group: "Act", keys: ["e"], label: "Resolve or reopen", run: press("e") },
  { group: "Act", keys: ["s"], label: "Snooze or wake", run: press("s") },
  { group: "Act", keys: ["a"], label: "Assign or move", run: press("a") },
  { group: "Act", keys: ["i"], label: "Take it", run: press("i") },
  { group: "Act", keys: ["m"], label: "Macros", run: press("m") },
  { group: "Act", keys: ["t"], label: "Tag", run: tag },
  { group: "Act", keys: ["u"], label: "Unread again", run: press("u") },
  { group: "Act", keys: ["p"], label: "Take the next", run: () => document.getElementById("next")?.click() },
  { group: "Act", keys: ["z"], label: "Undo", run: undo },
  { group: "Write", keys: ["⌘ ↵"], label: "Send", field: true },
  { group: "Write", keys: ["⇧ ⌘ ↵"], label: "Send and resolve", field: true },
  { group: "Write", keys: ["/"], label: "Saved reply", field: true },
  { group: "Write", keys: ["@"], label: "Tell a colleague, in a note", field: true },
  { group: "Write", keys: ["tab"], label: "Next gap of a saved reply", field: true },
  { group: "Write", keys: ["esc"], label: "Leave the field", field: true },
  { group: "Write", keys: ["⌘ K"], label: "All commands", field: true },
  { group: "Write", keys: ["?"], label: "This help", run: () => show("help") },
];

// Where G leads stands in the navigation.
const keys = () => [...KEYS, ...[...document.querySelectorAll("[data-go]")].map((one) => ({ group: "Move", keys: ["g", one.dataset.go], label: one.title, run: () => one.click() }))];
const on = () => document.body.dataset.keys !== "off";
const inField = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
let pending = "";
let waiting = 0;

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) {
    if (send(event.shiftKey)) event.preventDefault();
    return;
  }
  if (event.key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey) && !event.shiftKey && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    return show("palette");
  }
  if (event.key === "Escape" && inField(event.target) && !event.target.closest("dialog")) {
    if (event.target.id === "q") look(event.target, "");
    return event.target.blur();
  }
  if (event.target.id === "q" && ["Enter", "ArrowDown"].includes(event.key) && !event.isComposing) {
    event.preventDefault();
    event.target.blur();
    return first(event.target.value.trim(), event.key === "Enter" && matchMedia("(pointer: coarse)").matches ? 0 : 60);
  }
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey || event.isComposing) return;
  if (!on() || inField(event.target) || document.querySelector("dialog[open]")) return;
  const typed = pending + event.key;
  wait("");
  const found = keys().find((one) => one.run && one.keys.join("") === typed);
  if (found) {
    event.preventDefault();
    return found.run();
  }
  wait(event.key);
});

// After the first key of several, what may follow is shown until something is pressed or nothing is for a while.
function wait(key) {
  const next = key ? keys().filter((one) => one.keys.length > 1 && one.keys[0] === key) : [];
  const hint = document.getElementById("hint");
  pending = next.length ? key : "";
  hint.hidden = !pending;
  hint.replaceChildren(...next.map((one) => line(one, one.keys.slice(1))));
  clearTimeout(waiting);
  if (pending) waiting = setTimeout(wait, 4000, "");
}

function look(field, typed) {
  field.value = typed;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

// The first that is found for what is typed now, as soon as that is there.
function first(typed, tries) {
  if (document.getElementById("rows").dataset.view === `search ${typed}`) rows()[0]?.click();
  else if (typed && tries) setTimeout(first, 50, typed, tries - 1);
}

document.addEventListener("click", ({ target }) => { if (target.closest('[data-do="help"]')) show("help"); });
