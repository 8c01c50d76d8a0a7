// The loader of the chat: <script src="https://HUB/chat/widget.js" data-channel="shop-chat" defer></script>
// data-identity is a JWT that the site's server has signed for its customer; data-colour tints the button.
// It adds one button and, once opened, one frame on the hub's origin. window.SwitchyardChat = {open, close, identify}.
(() => {
  "use strict";
  const script = document.currentScript;
  if (!script || window.SwitchyardChat) return;
  const hub = new URL(script.src).origin;
  const channel = script.dataset.channel || "";
  const remembered = `switchyard-chat:${channel}`;
  const phone = matchMedia("(max-width: 480px)");
  let identity = script.dataset.identity || "";
  let frame = null;
  let ready = false;
  let opened = false;

  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial; position: fixed; right: 20px; bottom: 20px; z-index: 2147483000;
            font: 600 13px/1 ui-sans-serif, system-ui, sans-serif; }
    button { position: relative; display: grid; place-items: center; width: 56px; height: 56px; padding: 0; border: 0;
             border-radius: 50%; color: #fff; background: var(--colour, #4b54d1); cursor: pointer;
             box-shadow: 0 4px 18px rgb(0 0 0 / .25); transition: transform .15s; }
    button:hover { transform: translateY(-1px); }
    button:focus-visible { outline: 3px solid #fff; outline-offset: -6px; box-shadow: 0 0 0 3px var(--colour, #4b54d1); }
    svg { width: 26px; height: 26px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round;
          stroke-linejoin: round; }
    .count { position: absolute; top: -4px; right: -4px; min-width: 20px; padding: 4px 5px; border-radius: 10px;
             background: #c4352b; }
    .count[hidden], iframe[hidden], button[hidden] { display: none; }
    iframe { position: fixed; right: 20px; bottom: 88px; width: 376px; height: min(600px, calc(100vh - 112px)); border: 0;
             border-radius: 14px; background: transparent; color-scheme: normal; outline: 1px solid rgb(128 128 128 / .22);
             box-shadow: 0 2px 6px rgb(0 0 0 / .12), 0 20px 50px -10px rgb(0 0 0 / .35); }
    @media (max-width: 480px) { iframe { inset: 0; width: 100vw; height: 100dvh; border-radius: 0; outline: 0; } }
    @media (prefers-reduced-motion: reduce) { button { transition: none; } }
    @media print { :host { display: none; } }
  `);
  root.adoptedStyleSheets = [sheet];
  if (/^#[0-9a-f]{6}$/i.test(script.dataset.colour || "")) host.style.setProperty("--colour", script.dataset.colour);

  const button = document.createElement("button");
  button.type = "button";
  button.innerHTML =
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5h16v11H9l-5 4z"/></svg><span class="count" hidden></span>';
  const count = button.querySelector(".count");
  root.append(button);

  function say(message) {
    if (ready) frame.contentWindow.postMessage(message, hub);
  }

  function label(unread) {
    count.hidden = !unread;
    count.textContent = unread || "";
    const news = unread ? `, ${unread} new` : "";
    button.setAttribute("aria-label", (opened ? "Close chat" : "Open chat") + news);
    button.setAttribute("aria-expanded", String(opened));
    button.hidden = opened && phone.matches;
  }

  function load() {
    if (frame) return;
    frame = document.createElement("iframe");
    frame.title = "Chat";
    frame.hidden = true;
    const query = new URLSearchParams({ channel, origin: location.origin });
    frame.src = `${hub}/chat/frame?${query}`;
    root.prepend(frame);
  }

  function open() {
    load();
    opened = true;
    frame.hidden = false;
    label(0);
    frame.focus();
    say({ type: "opened" });
    try { localStorage.setItem(remembered, "1"); } catch { /* a site without storage: nothing to remember */ }
  }

  function close() {
    if (!opened) return;
    opened = false;
    frame.hidden = true;
    label(0);
    say({ type: "closed" });
    button.focus();
  }

  function identify(token) {
    identity = token || "";
    say({ type: "identify", identity });
  }

  addEventListener("message", (event) => {
    if (!frame || event.source !== frame.contentWindow || event.origin !== hub) return;
    const message = event.data || {};
    if (message.type === "ready") {
      ready = true;
      say({ type: "identify", identity });
      if (opened) say({ type: "opened" });
    } else if (message.type === "close") close();
    else if (message.type === "unread" && !opened) label(Number(message.count) || 0);
  });
  phone.addEventListener("change", () => label(0));
  button.addEventListener("click", () => (opened ? close() : open()));
  label(0);
  document.body.append(host);
  window.SwitchyardChat = Object.freeze({ open, close, identify });

  // Whoever chatted here before hears of answers without opening the chat.
  let before = "";
  try { before = localStorage.getItem(remembered); } catch { /* see above */ }
  if (before) load();
})();
