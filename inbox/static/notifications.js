// What this browser permits of notifications, and trying them. It is asked only when somebody presses the button.
const { show, play } = await import(document.body.dataset.notices);

function say(line, state) {
  for (const words of line.querySelectorAll("[data-state]")) words.hidden = words.dataset.state !== state;
  line.hidden = false;
}

const permission = document.getElementById("permission");
const ask = permission.querySelector("[data-ask]");
const attempt = permission.querySelector("[data-try]");

function look() {
  const state = !isSecureContext ? "insecure" : "Notification" in window ? Notification.permission : "missing";
  say(permission, state);
  ask.hidden = state !== "default";
  attempt.hidden = state !== "granted";
}

ask.addEventListener("click", async () => {
  await Notification.requestPermission();
  look();
  if (!attempt.hidden) attempt.focus();
});
attempt.addEventListener("click", () => {
  const title = document.querySelector(".told-how tbody b").textContent;
  say(permission, show({ conversation: "try", title, body: document.querySelector(".told-how tbody small").textContent }) || "tried");
});

const sound = document.getElementById("sound");
sound.hidden = false;
sound.querySelector("button").addEventListener("click", async () => say(sound, (await play("word")) ? "heard" : "mute"));

// Somebody may change it in the browser's own settings meanwhile.
navigator.permissions?.query({ name: "notifications" }).then((known) => { known.onchange = look; }, () => {});
look();
