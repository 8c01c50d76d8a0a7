// Every key and what it does, and the switch for them. Fetched when it is opened for the first time.
import { line } from "./caps.js";
import { said } from "./said.js";

const box = document.getElementById("keys-switch");

document.addEventListener("switchyard:help", ({ detail: keys }) => {
  document.getElementById("help-keys").replaceChildren(...["Move", "Mark", "Act", "Write"].map((group) => {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    title.textContent = said(group);
    const list = document.createElement("ul");
    list.append(...keys.filter((key) => key.group === group).map((one) => line(one, one.keys)));
    section.append(title, list);
    return section;
  }));
  box.checked = document.body.dataset.keys !== "off";
});
box.addEventListener("change", () => {
  const keys = document.body.dataset.keys = box.checked ? "on" : "off";
  const body = new FormData();
  body.set("keys", keys);
  fetch("/inbox/preferences", { method: "POST", body, headers: { "X-CSRFToken": document.body.dataset.token, "HX-Request": "true" } });
});
