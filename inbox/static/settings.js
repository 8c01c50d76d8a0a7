// Addresses and lines of HTML that are put in elsewhere: copied by a button, which is there only with scripts.
import { said } from "./said.js";
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const label = button.querySelector("span");
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.textContent = said("Copied");
    } catch {
      getSelection().selectAllChildren(source); // without https a page may not write to the clipboard
      label.textContent = said("Selected");
    }
    setTimeout(() => { label.textContent = said("Copy"); }, 2000);
  });
}
document.documentElement.classList.add("scripted");
