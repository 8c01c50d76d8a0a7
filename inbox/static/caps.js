// Keys as they are drawn: ⌘ is Ctrl where there is none.
import { said } from "./said.js";

const MAC = /mac|iphone|ipad/i.test(navigator.userAgentData?.platform ?? navigator.platform);

export function caps(keys) {
  const drawn = document.createElement("span");
  drawn.className = "caps";
  drawn.append(...keys.map((key) => Object.assign(document.createElement("kbd"), { textContent: (MAC ? key : key.replace("⌘", said("Ctrl"))).replace(/^[A-Z]$/, "⇧ $&").toUpperCase() })));
  return drawn;
}

export function line(one, keys) {
  const item = document.createElement("li");
  item.textContent = said(one.label);
  item.append(caps(keys));
  return item;
}
