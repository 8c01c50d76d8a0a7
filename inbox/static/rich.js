// Formatting for mail: the plain field becomes an editable area once something is formatted, and plain again elsewhere.
const of = () => document.getElementById("composer");
const area = () => document.getElementById("rich");
const isMail = () => Boolean(of()?.querySelector("#choice")?.selectedOptions[0]?.dataset.copies);
let kept = null; // where the caret was while an address for a link is typed

export const isRich = () => Boolean(area() && !area().hidden);

// Whatever is written stands in the plain field as well: drafts, counts and the text of the mail come from there.
function sync() {
  unstyle(area());
  const { html, formatted, reply } = of().elements;
  html.value = area().innerHTML;
  formatted.value = "1";
  reply.value = area().innerText.replace(/\u00a0/g, " ").replace(/\n$/, "");
  reply.dispatchEvent(new Event("input", { bubbles: true }));
}

// Browsers leave styles behind while they edit; the page's policy refuses them, and mails don't want them.
function unstyle(root) {
  for (const one of root.querySelectorAll("[style]")) one.removeAttribute("style");
  return root;
}

function rows(text) {
  return text.split("\n").map((line) => { const row = document.createElement("div"); row.append(line || document.createElement("br")); return row; });
}

function show(rich) {
  of().elements.reply.hidden = rich;
  area().hidden = !rich;
  of().elements.formatted.value = rich ? "1" : "";
}

function begin() {
  const field = of().elements.reply;
  const [start, end] = [field.selectionStart, field.selectionEnd];
  area().replaceChildren(...rows(field.value));
  show(true);
  area().focus();
  getSelection().setBaseAndExtent(...place(start), ...place(end));
}

function place(offset) {
  for (const row of area().children) {
    const text = row.firstChild;
    if (offset <= row.textContent.length) return text.nodeType === Node.TEXT_NODE ? [text, offset] : [row, 0];
    offset -= row.textContent.length + 1;
  }
  return [area(), area().childNodes.length];
}

export function plain() {
  if (!isRich()) return;
  of().elements.html.value = "";
  show(false);
}

// What a draft or a macro brought along; and the tools are there for mail only.
export function ready() {
  const form = of();
  if (!form || !area()) return;
  form.querySelector(".formats").hidden = !isMail();
  if (isRich() && !isMail()) plain();
  if (!isRich() && isMail() && form.elements.html.value && form.elements.formatted.value) {
    area().replaceChildren(...unstyle(new DOMParser().parseFromString(form.elements.html.value, "text/html").body).childNodes);
    show(true);
  }
}

export function toEnd() {
  area().focus();
  getSelection().selectAllChildren(area());
  getSelection().collapseToEnd();
}

function format(command) {
  if (!isRich()) begin();
  area().focus();
  document.execCommand(command);
  sync();
}

function link(field) {
  const typed = field.value.trim();
  field.hidden = true;
  field.value = "";
  if (kept) getSelection().setBaseAndExtent(...kept);
  if (!typed) return area().focus();
  const href = /^(https?:|mailto:|tel:)/i.test(typed) ? typed : typed.includes("@") ? `mailto:${typed}` : `https://${typed}`;
  area().focus();
  if (getSelection().isCollapsed) {
    document.execCommand("insertText", false, typed);
    for (const _ of typed) getSelection().modify("extend", "backward", "character");
  }
  document.execCommand("createLink", false, href);
  sync();
  getSelection().collapseToEnd();
}

document.addEventListener("click", ({ target }) => {
  const tool = target.closest("[data-format]");
  if (!tool) return;
  if (tool.dataset.format !== "createLink") return format(tool.dataset.format);
  if (!isRich()) begin();
  const { anchorNode, anchorOffset, focusNode, focusOffset } = getSelection();
  kept = [anchorNode, anchorOffset, focusNode, focusOffset];
  const field = document.getElementById("link");
  field.hidden = false;
  field.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.target.id === "link" && ["Enter", "Escape"].includes(event.key)) {
    if (event.key === "Escape") event.target.value = "";
    event.preventDefault();
    event.stopPropagation();
    return link(event.target);
  }
  const command = { b: "bold", i: "italic" }[event.key.toLowerCase()];
  if (!command || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || !isMail() || !["reply", "rich"].includes(event.target.id)) return;
  event.preventDefault();
  format(command);
}, true);
document.addEventListener("input", ({ target }) => { if (target.id === "rich") sync(); });
// Only words are pasted: what other programs bring along is never what was meant.
document.addEventListener("paste", (event) => {
  if (event.target.closest?.("#rich") && !event.clipboardData.files.length) {
    event.preventDefault();
    document.execCommand("insertText", false, event.clipboardData.getData("text/plain"));
  }
});
