// The chat inside its frame: session, lines up by POST, answers down by a fetch stream that resumes where it was cut.
const body = document.body;
const { channel, origin, colour } = body.dataset;
const log = document.getElementById("log");
const form = document.getElementById("write");
const field = document.getElementById("text");
const status = document.getElementById("status");
const stored = `switchyard-chat:${channel}`;
const embedded = window.parent !== window;

let token = "";
let identity = "";
let cursor = "0";
let unread = 0;
let visible = !embedded;
let streaming = null;
let begun;
let session = new Promise((resolve) => { begun = resolve; }); // a line typed before there is a session waits for it
const lines = new Map();

if (colour) document.documentElement.style.setProperty("--accent-fill", colour);

const storage = {
  get() { try { return localStorage.getItem(stored) || ""; } catch { return ""; } },
  set(value) { try { localStorage.setItem(stored, value); } catch { /* private mode: this page only */ } },
};

function tell(message) {
  if (embedded) window.parent.postMessage(message, origin);
}

function notice(sentence) {
  status.textContent = sentence;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (!response.ok) {
    const refusal = await response.json().catch(() => ({}));
    throw Object.assign(new Error(refusal.error || document.body.dataset.away), { status: response.status });
  }
  return response;
}

async function begin() {
  const known = identity ? {} : { token: storage.get() };
  const response = await ask("/chat/session", {
    method: "POST", body: JSON.stringify({ channel, identity: identity || undefined, ...known }),
  });
  const issued = await response.json();
  token = issued.token;
  if (!issued.signed) storage.set(token); // a signed visitor is known by the site, and leaves nothing in the browser
}

async function load() {
  const { messages, cursor: now } = await (await ask("/chat/messages")).json();
  messages.forEach((line) => show(line, false));
  cursor = String(now);
}

function time(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function show(line, isNew) {
  const key = line.client_id || `m${line.id}`;
  let item = lines.get(key);
  if (!item) {
    item = document.createElement("li");
    item.append(document.createElement("p"), document.createElement("small"));
    lines.set(key, item);
    log.append(item);
    if (isNew && line.from === "agent" && !visible) tell({ type: "unread", count: ++unread });
  }
  item.className = line.from;
  item.firstChild.textContent = line.text;
  item.lastChild.replaceChildren(line.from === "agent" && line.name ? `${line.name} · ${time(line.at)}` : time(line.at));
  log.scrollTop = log.scrollHeight;
  return item;
}

async function post(id, text) {
  const item = show({ client_id: id, from: "visitor", text, at: new Date().toISOString() }, false);
  item.lastChild.textContent = document.body.dataset.sending;
  await session;
  try {
    await ask("/chat/messages", { method: "POST", body: JSON.stringify({ id, text, page: document.referrer }) });
    item.lastChild.textContent = time(new Date());
    notice("");
  } catch (error) {
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = document.body.dataset.again;
    again.addEventListener("click", async () => {
      if (error.status === 401) await begin().catch(() => {});
      post(id, text);
    });
    item.lastChild.replaceChildren(again);
    notice(error.message);
  }
}

function take(event) {
  let name = "message", data = "";
  for (const row of event.split("\n")) {
    if (row.startsWith("id: ")) cursor = row.slice(4);
    else if (row.startsWith("event: ")) name = row.slice(7);
    else if (row.startsWith("data: ")) data += row.slice(6);
  }
  if (name === "sync") load().catch(() => {});
  else if (data) show(JSON.parse(data), true);
}

async function read(signal) {
  const response = await ask("/chat/stream", { headers: { "Last-Event-ID": cursor }, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop();
    events.forEach(take);
  }
}

async function stream() {
  streaming?.abort();
  const own = (streaming = new AbortController());
  for (let pause = 1000; !own.signal.aborted; pause = Math.min(pause * 2, 30000)) {
    const since = Date.now();
    try {
      await read(own.signal);
    } catch (error) {
      if (own.signal.aborted) return;
      if (error.status === 401) await restart();
    }
    if (Date.now() - since > 10000) pause = 1000;
    await new Promise((resume) => setTimeout(resume, pause * (0.75 + Math.random() / 2)));
  }
}

async function restart() {
  try {
    await begin();
    await load();
    notice("");
    return true;
  } catch (error) {
    notice(error.message);
    return false;
  }
}

async function start() {
  lines.forEach((item) => item.remove());
  lines.clear();
  session = restart();
  begun(session);
  if (await session) stream();
  else setTimeout(start, 5000);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value;
  if (!text.trim()) return;
  field.value = "";
  field.style.height = "";
  // randomUUID is missing on plain-http pages other than localhost.
  const random = crypto.getRandomValues(new Uint8Array(16));
  post(Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join(""), text);
  field.focus();
});

field.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});

field.addEventListener("input", () => {
  field.style.height = "";
  field.style.height = `${Math.min(field.scrollHeight, 140)}px`;
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tell({ type: "close" });
});

document.getElementById("close").addEventListener("click", () => tell({ type: "close" }));
document.getElementById("close").hidden = !embedded;

addEventListener("message", (event) => {
  if (event.source !== window.parent || event.origin !== origin) return;
  const message = event.data || {};
  if (message.type === "identify") {
    identity = message.identity || "";
    start();
  } else if (message.type === "opened") {
    visible = true;
    unread = 0;
    field.focus();
    log.scrollTop = log.scrollHeight;
  } else if (message.type === "closed") visible = false;
});

if (embedded) tell({ type: "ready" });
else start();
