// The sandbox page: shows news every second, and sends without leaving the page. Without it, forms post as usual.

const EVERY = 1000; // milliseconds
const live = [...document.querySelectorAll("[data-live]")];
const personas = [...document.querySelectorAll("select[data-persona]")];
const shown = new Map(live.map((part) => [part, part.innerHTML]));
let tag = "";
let asking = false;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = (at.toDateString() === new Date().toDateString() ? clock : day).format(at);
    time.title = at.toLocaleString();
  }
}

function replace(part, html) {
  if (shown.get(part) === html) return;
  shown.set(part, html);
  const atEnd = part.scrollHeight - part.scrollTop - part.clientHeight < 60;
  part.innerHTML = html;
  localise(part);
  if (atEnd) part.scrollTop = part.scrollHeight;
}

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const query = new URLSearchParams(personas.map((select) => [select.name, select.value]));
    const answer = await fetch(`/sandbox/live?${query}`, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.ok) {
      tag = answer.headers.get("ETag") ?? "";
      const parts = await answer.json();
      for (const part of live) replace(part, parts[part.dataset.live]);
    }
  } catch {
    // The hub is restarting; the next round finds it.
  } finally {
    asking = false;
  }
}

function told(form, sentence) {
  const place = form.querySelector(".told");
  if (place) place.textContent = sentence;
}

async function play(form, button) {
  const said = document.body.dataset;
  const data = new FormData(form, button);
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, { method: "POST", body: data, headers: { "X-Requested-With": "sandbox" } });
    if (answer.ok) {
      told(form, "");
      if (!("keep" in form.dataset)) empty(form);
    } else {
      const heard = answer.status === 502 ? (await answer.json()).answer : answer.status;
      told(form, heard ? said.answered.replace("{status}", heard) : said.silent);
    }
  } catch {
    told(form, said.away);
  }
  form.removeAttribute("aria-busy");
  await refresh();
}

function empty(form) {
  for (const field of form.querySelectorAll("textarea, input:not([type=hidden])")) {
    if (field.type === "checkbox") field.checked = false;
    else field.value = "";
  }
  if (form.elements.answers) form.elements.answers.value = "";
}

document.addEventListener("submit", (event) => {
  if (!("play" in event.target.dataset)) return;
  event.preventDefault();
  play(event.target, event.submitter);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fill], [data-answers]");
  const form = button?.closest("form");
  if (!form) return;
  const { fill, subject, answers, check } = button.dataset;
  if (fill !== undefined) form.elements.text.value = fill;
  if (subject !== undefined) form.elements.subject.value = subject;
  if (form.elements.answers) form.elements.answers.value = answers ?? "";
  if (check) form.elements[check].checked = true;
  form.elements.text.focus();
});

document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !field.matches(".say textarea")) return;
  event.preventDefault();
  field.form.requestSubmit();
});

for (const select of personas) {
  select.addEventListener("change", () => {
    tag = "";
    refresh();
  });
}

for (const part of live) {
  localise(part);
  part.scrollTop = part.scrollHeight;
}
setInterval(() => document.visibilityState === "visible" && refresh(), EVERY);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && refresh());
