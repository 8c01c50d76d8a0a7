// Every command by a few letters of its name: the key map, and whatever the menus on the page offer now. Fetched when it
// is opened for the first time; what was typed until then counts.
import { caps } from "./caps.js";
import { said } from "./said.js";

const dialog = document.getElementById("palette");
const query = document.getElementById("palette-q");
const list = document.getElementById("palette-list");
const PLACES = [["#macro-menu", "Macro"], ["#assign-menu", "Assign"], ["#snooze-menu", "Snooze"], ["#nav-views", "Go to"], ["#me-menu", ""]];
let commands = [];
let found = [];
let at = 0;

function gather(keys) {
  const keyed = keys.filter((one) => one.run && one.group !== "Write" && one.keys[0] !== "g").map((one) => ({ name: said(one.label), keys: one.keys, run: one.run }));
  const named = PLACES.flatMap(([place, group]) => [...document.querySelectorAll(`${place} :is(.menu-list button, .menu-list a, a[id^=v-])`)].map((one) => {
    const words = one.querySelector(":scope > span:not(.av, .sr, .n, .dot)") ?? one;
    return { name: [group && said(group), words.firstChild?.textContent.trim()].filter(Boolean).join(": "), more: one.querySelector("small")?.textContent ?? "", keys: one.dataset.go ? ["g", one.dataset.go] : [], run: () => one.click() };
  }));
  return [...named.filter((one) => one.name.startsWith(said("Macro"))), ...keyed, ...named.filter((one) => !one.name.startsWith(said("Macro")))];
}

// The letters in this order, the earlier and the closer together the better.
function rank(name, typed) {
  const low = name.toLowerCase();
  const whole = low.indexOf(typed);
  if (whole >= 0) return whole === 0 || /\W/.test(low[whole - 1]) ? 0 : 1;
  let from = -1;
  for (const letter of typed) if ((from = low.indexOf(letter, from + 1)) < 0) return -1;
  return 2;
}

function draw() {
  const typed = query.value.trim().toLowerCase();
  found = commands.map((one) => ({ one, rank: rank(one.name, typed) })).filter((pair) => pair.rank >= 0).sort((a, b) => a.rank - b.rank).map((pair) => pair.one).slice(0, 40);
  if (typed) found.push({ name: said("Search for “{words}”").replace("{words}", query.value.trim()), run: () => location.assign(`/inbox/search?q=${encodeURIComponent(query.value.trim())}`) });
  at = 0;
  list.replaceChildren(...found.map((one, number) => {
    const item = Object.assign(document.createElement("li"), { id: `palette-${number}`, role: "option", textContent: one.name });
    item.append(one.more ? Object.assign(document.createElement("small"), { textContent: one.more }) : "", caps(one.keys ?? []));
    return item;
  }));
  mark();
}

function mark() {
  [...list.children].forEach((one, number) => { one.ariaSelected = String(number === at); });
  query.setAttribute("aria-activedescendant", `palette-${at}`);
  list.children[at]?.scrollIntoView({ block: "nearest" });
}

function run(number) {
  dialog.close();
  found[number]?.run();
}

document.addEventListener("switchyard:palette", ({ detail }) => {
  commands = gather(detail);
  draw();
});
dialog.addEventListener("close", () => { query.value = ""; });

query.addEventListener("input", draw);
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) { at = (at + step + found.length) % found.length; mark(); }
  else if (event.key === "Enter") run(at);
  else return;
  event.preventDefault();
});
list.addEventListener("click", ({ target }) => run([...list.children].indexOf(target.closest("li"))));
dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close(); });
