// What concerns the agent is told outside of the page: on the desktop and by a sound. Fetched when there is something.
const LOOKER_FIRST = 400; // a page that shows the conversation claims what is told of it before any other
const CLAIMED = 5_000;
const QUIET = 4_000; // between two sounds, over all pages
let audio = null;

const isLookedAt = (conversation) => document.visibilityState === "visible" && document.querySelector("#thread[data-id]")?.dataset.id === String(conversation);
const later = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });

// Whoever gets the lock first tells; it is held until every other page has asked. Without https there is none.
async function first(name, held, run) {
  if (!navigator.locks) return run();
  await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    run();
    await later(held);
  });
}

export async function tell(notice) {
  if (!isLookedAt(notice.conversation)) await later(LOOKER_FIRST);
  await first(`notice-${notice.id}`, CLAIMED, () => {
    if (isLookedAt(notice.conversation)) return;
    if (notice.desktop) show(notice);
    if (notice.sound) first("notice-sound", QUIET, () => play(notice.sound));
  });
}

// Answers what the browser did not allow, or nothing.
export function show({ conversation, title, body, url }) {
  if (!("Notification" in window)) return "missing";
  if (Notification.permission !== "granted") return Notification.permission;
  try {
    // One for each conversation: the newest takes the place of what was told of it before. The sound is ours.
    const shown = new Notification(title, { body, tag: `switchyard-${conversation}`, renotify: true, silent: true, icon: document.querySelector("link[rel=icon]")?.href });
    shown.onclick = () => {
      shown.close();
      window.focus();
      if (!url) return;
      if (document.getElementById("rows") || !window.open(url)) location.assign(url);
    };
  } catch {
    return "missing"; // browsers on phones have the name, and refuse
  }
  return "";
}

// Two notes for words, four for a ring. A page may sound once something in it was pressed; until then it stays silent.
const TUNES = { word: [660, 880], ring: [660, 880, 660, 880] };
export async function play(sound) {
  if (!("AudioContext" in window)) return false;
  audio ??= new AudioContext();
  if (audio.state === "suspended") await Promise.race([audio.resume(), later(200)]);
  if (audio.state !== "running") return false;
  TUNES[sound].forEach((pitch, at) => {
    const begins = audio.currentTime + at * 0.16;
    const tone = new OscillatorNode(audio, { frequency: pitch });
    const volume = new GainNode(audio, { gain: 0 });
    volume.gain.setValueAtTime(0, begins);
    volume.gain.linearRampToValueAtTime(0.14, begins + 0.015);
    volume.gain.exponentialRampToValueAtTime(0.001, begins + 0.3);
    tone.connect(volume).connect(audio.destination);
    tone.start(begins);
    tone.stop(begins + 0.32);
  });
  return true;
}
