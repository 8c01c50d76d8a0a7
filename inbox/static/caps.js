// Keys as they are drawn: ⌘ is Ctrl where there is none.
const MAC = /mac|iphone|ipad/i.test(navigator.userAgentData?.platform ?? navigator.platform);

export function caps(keys) {
  const drawn = document.createElement("span");
  drawn.className = "caps";
  drawn.append(...keys.map((key) => Object.assign(document.createElement("kbd"), { textContent: (MAC ? key : key.replace("⌘", "Ctrl")).replace(/^[A-Z]$/, "⇧ $&").toUpperCase() })));
  return drawn;
}
