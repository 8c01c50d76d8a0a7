// Writing: drafts kept as one types, files taken at once, the counter of the channel.
import { openId } from "./list.js";
import { isRich, plain, ready, toEnd } from "./rich.js";
import { said } from "./said.js";

const GSM = /^[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà^{}\\[\]~|€]*$/;
const TWICE = /[\^{}\\[\]~|€]/g;
const form = () => document.getElementById("composer");
let timer = 0;
let dirty = null;
let sending = null; // the request that is on its way

const chosen = (of) => of.querySelector("#choice")?.selectedOptions[0];
const channel = (option) => option.value.split(":")[0];
let before = null; // the way of answering that was chosen until now

function body(of) {
  const typed = new FormData();
  for (const name of ["csrf_token", "kind", "reply", "note", "choice", "cc", "bcc", "html", "formatted"]) if (of.elements[name]) typed.set(name, of.elements[name].value);
  for (const file of of.querySelectorAll("[name=attachment]")) typed.append("attachment", file.value);
  typed.set("aside", JSON.stringify(aside(of)));
  if (sending?.sourceElement !== of) return typed;
  for (const name of WRITTEN) typed.set(name, rest(of, name));
  for (const name of ["html", "formatted", "attachment"]) typed.delete(name);
  return typed;
}

// What was written on since an answer is on its way.
const WRITTEN = ["reply", "note"];
function rest(of, name) {
  const now = of.elements[name].value;
  const sent = sending.typed.get("kind") === name ? sending.typed.get(name) : "";
  return now.startsWith(sent) ? now.slice(sent.length) : "";
}
// It stands in the new composer before that is shown, so that the next key falls behind it.
function goOn(ctx, fresh) {
  const of = ctx.sourceElement;
  const held = !ctx.response.raw.ok;
  fresh.elements.kind.value = of.elements.kind.value;
  for (const name of held ? [...WRITTEN, "html", "formatted"] : WRITTEN) {
    if (of.elements[name].value === ctx.typed.get(name)) continue;
    fresh.elements[name].value = held ? of.elements[name].value : rest(of, name);
    ctx.further = true;
  }
  const files = [...of.querySelectorAll("#attached .file")].filter((file) => !ctx.typed.getAll("attachment").includes(file.querySelector("input").value));
  fresh.querySelector("#attached").append(...files);
  ctx.further ||= files.length;
}

// Each channel has its own words; the first that were typed go along to a channel that has none.
function aside(of) {
  const others = [...of.querySelectorAll("#choice option")].filter((one) => one.dataset.aside && channel(one) !== channel(chosen(of)));
  return Object.fromEntries(others.map((one) => [channel(one), one.dataset.aside]));
}
function changeChannel(of) {
  const now = chosen(of);
  if (before?.isConnected && channel(before) !== channel(now)) {
    plain();
    const field = of.elements.reply;
    before.dataset.aside = now.dataset.aside ? field.value : "";
    if (now.dataset.aside) field.value = now.dataset.aside;
    now.dataset.aside = "";
  }
  before = now;
}

async function save() {
  clearTimeout(timer);
  const of = dirty;
  dirty = null;
  if (!of?.isConnected) return;
  const response = await fetch(of.dataset.draft, { method: "POST", body: body(of) }).catch(() => null);
  const told = of.querySelector("[data-saved]");
  if (told) told.textContent = said(response?.ok ? "Draft saved" : "Draft not saved");
  if (!response?.ok) return later(of, 5000);
  of.dataset.saved = response.headers.get("X-Saved") ?? "";
  begun(of);
}
function later(of, wait) {
  dirty = of;
  clearTimeout(timer);
  timer = setTimeout(save, wait);
}

// The list says so at once, and after a refresh that was read before the draft was kept.
function begun(of) {
  const line = document.querySelector(`#c-${openId()} .prev`);
  const words = of.elements.reply.value.trim() || of.elements.note.value.trim();
  if (!line || !words) return;
  const mark = Object.assign(document.createElement("span"), { className: "draft", textContent: said("Draft:") });
  line.replaceChildren(mark, ` ${words.slice(0, 120)}`);
}

function leave() {
  const of = dirty;
  dirty = null;
  if (!of?.isConnected) return;
  const left = [of.dataset.draft, body(of)];
  navigator.sendBeacon(...left);
  if (sending?.sourceElement === of) sending.left = left; // what is sent takes its draft along
}

// What was typed on another device meanwhile is here when one comes back, unless something new is typed already.
async function fresh() {
  const of = form();
  if (document.visibilityState !== "visible" || !of || dirty) return;
  const response = await fetch(`${of.dataset.draft}?saved=${encodeURIComponent(of.dataset.saved)}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (response?.status === 200 && of.isConnected && !dirty) htmx.swap({ sourceElement: of, target: of, swap: "outerHTML", text: await response.text() });
}

// GSM 03.38: 160 characters in one text, 153 in each of several; anything else halves it (UCS-2: 70 and 67).
export function segments(text) {
  const plain = GSM.test(text);
  const length = plain ? text.length + (text.match(TWICE)?.length ?? 0) : text.length;
  const [one, many] = plain ? [160, 153] : [70, 67];
  const count = length <= one ? 1 : Math.ceil(length / many);
  return { count, left: (count === 1 ? one : count * many) - length };
}

export function count() {
  const of = form();
  const option = of && chosen(of);
  if (!before?.isConnected) before = option;
  const place = of?.querySelector("[data-count]");
  if (!place) return;
  const text = of.elements.reply.value;
  const max = Number(option?.dataset.max);
  place.textContent = "";
  place.classList.toggle("over", Boolean(max) && text.length > max);
  if (text && option?.dataset.segments) {
    const { count: texts, left } = segments(text);
    place.textContent = said(texts === 1 ? "1 text, {left} left" : "{texts} texts, {left} left").replace("{texts}", texts).replace("{left}", left);
  } else if (max && text.length > max * 0.8) {
    place.textContent = said("{left} left").replace("{left}", max - text.length);
  }
  of.querySelector(".channel-icon use")?.setAttribute("href", `#${option?.dataset.icon ?? "i-send"}`);
  const copies = of.querySelector("[data-copies-row]");
  if (copies) copies.hidden = !option?.dataset.copies;
  of.querySelector("#sig").textContent = option?.dataset.signature ?? "";
  ready();
  of.querySelector(".attach").hidden = option ? !option.dataset.files : true;
}

// fetch can't tell how far an upload is.
const sent = (url, data, progress) => new Promise((done) => {
  const request = new XMLHttpRequest();
  request.open("POST", url);
  request.setRequestHeader("HX-Request", "true");
  request.setRequestHeader("X-CSRFToken", document.body.dataset.token);
  request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) progress(event.loaded / event.total); });
  request.addEventListener("load", () => done(request));
  request.addEventListener("error", () => done(null));
  request.send(data);
});

async function upload(of, files) {
  const data = new FormData();
  for (const file of files) data.append("file", file);
  const told = of.querySelector("[data-saved]");
  told.textContent = said("Attaching…");
  const answer = await sent(of.dataset.attach, data, (part) => { told.textContent = `${said("Attaching…")} ${Math.floor(part * 100)} %`; });
  told.textContent = answer ? "" : said("Not attached: no connection");
  if (answer?.status !== 200) return htmx.swap({ sourceElement: of, text: answer?.responseText ?? "", swap: "none", target: of });
  of.querySelector("#attached").insertAdjacentHTML("beforeend", answer.responseText);
  later(of, 0);
}

export function write(kind) {
  const of = form();
  if (!of) return;
  of.querySelector(`#kind-${kind}`).checked = true;
  if (kind === "reply" && isRich()) return toEnd();
  const field = of.elements[kind];
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

export function send(resolve) {
  const of = form();
  if (!of?.contains(document.activeElement)) return false;
  const note = of.elements.kind.value === "note";
  of.requestSubmit(of.querySelector(note ? ".for-note button" : `#send-menu button[name=then][value="${resolve ? "resolve" : ""}"]`));
  return true;
}

document.addEventListener("input", ({ target }) => {
  const of = target.closest?.("#composer");
  if (!of || target.type === "file") return;
  if (target.name === "kind") return of.elements[target.value].focus();
  later(of, 600);
  count();
});
document.addEventListener("keydown", (event) => {
  const button = event.key === "Enter" && event.target.closest?.(".when")?.querySelector("button");
  if (!button) return;
  event.preventDefault();
  button.click();
});
document.addEventListener("change", ({ target }) => {
  if (target.id === "choice") { changeChannel(form()); count(); }
  const of = target.type === "file" && target.closest("#composer");
  if (of && target.files.length) upload(of, [...target.files]).then(() => (target.value = ""));
});
document.addEventListener("click", ({ target }) => {
  if (target.closest('[data-do="detach"]')) { target.closest(".file").remove(); later(form(), 0); }
  if (target.closest('[data-do="unmacro"]')) target.closest(".guard").remove();
  const named = target.closest('[data-do="copy"]');
  if (!named) return;
  const copies = named.form.elements.cc;
  copies.value = [copies.value.trim().replace(/,$/, ""), named.dataset.address].filter(Boolean).join(", ");
  const offered = named.parentElement;
  named.remove();
  if (!offered.querySelector("button")) offered.remove();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    const of = event.target.closest?.("#composer");
    if (!of || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    of.classList.toggle("dropping", name === "dragover");
    if (name === "drop") upload(of, [...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => {
  const of = event.target.closest?.("#composer");
  if (of && event.clipboardData.files.length) { event.preventDefault(); upload(of, [...event.clipboardData.files]); }
});
// What is being sent is no draft any more; what is left behind is one at once.
document.addEventListener("submit", ({ target }) => { if (target.id === "composer") { clearTimeout(timer); dirty = null; } }, true);
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  if (!ctx.request.action.endsWith("/send")) return;
  ctx.typed = body(ctx.sourceElement);
  sending = ctx;
});
document.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
  if (tasks.some((task) => task.target?.id === "conversation")) leave();
  const fresh = ctx === sending && tasks.find((task) => task.target?.id === "composer")?.fragment.querySelector("form");
  if (fresh) goOn(ctx, fresh);
});
document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  if (ctx === sending) sending = null;
  if (ctx.left) navigator.sendBeacon(...ctx.left);
});
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => setTimeout(() => {
  count();
  if (form() && form() !== sending?.sourceElement) begun(form());
  if (ctx.further) later(form(), 0);
  const done = /\/([cm]\/\d+|macros)\/(send|macro|undo)$/.test(ctx.request?.action);
  if (!done || !form()) return;
  // Who was told what is missing may be mending it already.
  if (!ctx.response.raw.ok && form().contains(document.activeElement)) return;
  // A macro that only did something leaves the keys alone.
  if (!ctx.request.action.includes("macro") || form().elements.reply.value) write(form().elements.kind.value);
}, 0));
// What did not get through is still a draft.
for (const failed of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(failed, ({ detail: { ctx } }) => { if (ctx?.sourceElement?.id === "composer" && ctx.sourceElement.isConnected) later(ctx.sourceElement, 600); });
}
document.addEventListener("visibilitychange", fresh);
addEventListener("pagehide", leave);
count();
