// Menus while one writes: a slash and a few letters offer saved replies, an @ in a note colleagues. Up, Down, Enter or Tab, Escape; or a press.
import { isRich } from "./rich.js";

const menu = () => document.getElementById("suggest");
const options = () => [...(menu()?.querySelectorAll("[role=option]") ?? [])];
const current = () => options().find((one) => one.ariaSelected === "true");
const GAP = /⟦[^⟦⟧\n]{1,80}⟧/;
let asked = "";
let moved = null; // the option that was chosen with arrows since the last letter: answers may come after them

// Where one writes: the text around the caret, and where in it. Formatted text is one row at a time.
function caret(field) {
  if (field.id !== "rich") return [field.value, field.selectionStart, field.selectionStart === field.selectionEnd];
  const chosen = getSelection();
  return [chosen.anchorNode?.nodeType === Node.TEXT_NODE ? chosen.anchorNode.data : "", chosen.anchorOffset, chosen.isCollapsed];
}

// The slash and what stands behind it, when the caret is there and a word begins with it.
function token(field) {
  const [text, at, collapsed] = caret(field);
  const found = (field.id === "note" ? /(?:^|\s)([/@]\S{0,32})$/ : /(?:^|\s)(\/\S{0,32})$/).exec(text.slice(0, at));
  return collapsed && found ? found[1] : "";
}

async function offer(field) {
  const typed = token(field);
  if (!typed) return hide();
  asked = typed;
  moved = null;
  const response = await fetch(`${field.closest("form").dataset.suggest}?for=${encodeURIComponent(typed[0])}&q=${encodeURIComponent(typed.slice(1))}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!response?.ok || asked !== typed || !menu()) return;
  menu().innerHTML = await response.text();
  menu().hidden = !current() && typed.length > 1; // with more letters it was no shortcut
  mark(field, options().find((one) => one.dataset.insert === moved?.dataset.insert) ?? current());
}

function hide() {
  asked = "";
  if (menu()) menu().hidden = true;
}

function mark(field, option) {
  for (const one of options()) one.ariaSelected = String(one === option);
  option?.scrollIntoView({ block: "nearest" });
  for (const [name, value] of [["aria-activedescendant", option?.id], ["aria-controls", option && "suggest-list"]]) {
    if (value) field.setAttribute(name, value); else field.removeAttribute(name);
  }
}

// Typed as if by hand, so that the browser's own undo takes it back.
export function insert(field, text, over = 0) {
  field.focus();
  if (field.id === "rich") for (let left = over; left > 0; left--) getSelection().modify("extend", "backward", "character");
  else field.setSelectionRange(field.selectionStart - over, field.selectionEnd);
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
}

function take(field, option) {
  const over = token(field).length;
  const start = field.id === "rich" ? 0 : field.selectionStart - over;
  hide();
  insert(field, option.dataset.insert, over);
  if (!gap(field, start)) field.dispatchEvent(new Event("input", { bubbles: true }));
}

// The next gap from here on is selected, ready to be written over.
function gap(field, from) {
  if (field.id === "rich") {
    const texts = document.createTreeWalker(field, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
      const found = GAP.exec(text.data);
      if (found) return getSelection().setBaseAndExtent(text, found.index, text, found.index + found[0].length), true;
    }
    return false;
  }
  const found = GAP.exec(field.value.slice(from)) ?? (from ? GAP.exec(field.value) : null);
  if (!found) return false;
  const at = field.value.indexOf(found[0], field.value.slice(from).includes(found[0]) ? from : 0);
  field.setSelectionRange(at, at + found[0].length);
  return true;
}

const field = (target) => target.matches?.("#composer textarea, #rich") && target;
document.addEventListener("input", ({ target }) => { if (field(target)) offer(target); });
document.addEventListener("focusout", ({ target }) => { if (field(target)) setTimeout(() => { if (!field(document.activeElement ?? {})) hide(); }, 150); });
document.addEventListener("pointerdown", (event) => {
  const option = event.target.closest?.("#suggest [role=option]");
  if (!option) return;
  event.preventDefault();
  take(document.activeElement, option);
});
document.addEventListener("click", ({ target }) => {
  if (!target.closest('[data-do="suggest"]')) return;
  const of = target.closest("#composer");
  const kind = of.elements.kind.value;
  const writing = kind === "reply" && isRich() ? document.getElementById("rich") : of.elements[kind];
  writing.focus();
  const [text, at] = caret(writing);
  insert(writing, /(^|\s)$/.test(text.slice(0, at)) ? "/" : " /");
});
document.addEventListener("keydown", (event) => {
  const writing = field(event.target);
  if (!writing || event.isComposing) return;
  if (menu().hidden || !options().length) {
    if (event.key === "Tab" && !event.shiftKey && GAP.test(writing.value ?? writing.textContent) && gap(writing, writing.selectionEnd)) event.preventDefault();
    if (event.key !== "Escape" || menu().hidden) return;
  }
  const all = options();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) mark(writing, moved = all[(all.indexOf(current()) + step + all.length) % all.length]);
  else if (event.key === "Escape") hide();
  else if ((event.key === "Enter" || event.key === "Tab") && !event.ctrlKey && !event.metaKey) take(writing, current());
  else return;
  event.preventDefault();
  event.stopPropagation();
}, true);
