// The floor: live, and by dragging what waits onto an agent or a queue. Each drag has its command in a sheet as well.
const floor = () => document.getElementById("floor");
const CALM = 1000; // milliseconds between two looks: on a busy desk something happens all the time
let dragged = null;
let looking = false;
let again = false;
let looked = 0;
let timer = 0;

function want() {
  again = true;
  clearTimeout(timer);
  if (!looking && !dragged) timer = setTimeout(look, Math.max(0, looked + CALM - Date.now()));
}

async function look() {
  if (dragged || !floor()) return;
  looking = true;
  again = false;
  looked = Date.now();
  await htmx.ajax("GET", floor().dataset.url, { source: "#live", target: "#floor", swap: "innerMorph" });
  looking = false;
  if (again) want();
}
document.addEventListener("switchyard:fact", want);
setInterval(want, 30_000); // time passes without any news

// What may be done where it is held over: an agent says what it would mean for him.
const target = (event) => event.target.closest?.("[data-drop]");
const clear = () => { for (const one of document.querySelectorAll(".dropping")) one.classList.remove("dropping"); };

document.addEventListener("dragstart", (event) => {
  const row = event.target.closest?.(".w[data-id]");
  if (!row) return;
  dragged = { ...row.dataset };
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", row.dataset.name);
  row.classList.add("dragged");
  floor().classList.add("dragging");
  for (const agent of document.querySelectorAll('[data-drop="agent"]')) {
    agent.classList.toggle("tight", Number(agent.dataset.room) < Number(dragged.weight));
  }
});
document.addEventListener("dragover", (event) => {
  const over = dragged && target(event);
  if (!over || (over.dataset.drop === "queue" && over.dataset.id === dragged.queue)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "move";
  if (!over.classList.contains("dropping")) { clear(); over.classList.add("dropping"); }
});
document.addEventListener("dragleave", (event) => { if (!target(event)?.contains(event.relatedTarget)) clear(); });
document.addEventListener("dragend", finish);
document.addEventListener("drop", (event) => {
  const over = dragged && target(event);
  if (!over) return;
  event.preventDefault();
  const { drop, id } = over.dataset;
  const values = drop === "agent" ? { do: "assign", agent: id } : { do: "move", queue: id };
  const url = `/inbox/floor/conversations/${dragged.id}/do`;
  finish();
  htmx.ajax("POST", url, { source: "#live", target: "#live", swap: "none", values });
});

function finish() {
  dragged = null;
  clear();
  floor()?.classList.remove("dragging");
  for (const row of document.querySelectorAll(".dragged")) row.classList.remove("dragged");
  if (again) want();
}

// The answer of a command shows the queue that is looked at.
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const only = floor()?.dataset.only;
  if (only && ctx.request.method === "POST") ctx.request.body.set("only", only);
});

// What can be done opens above the floor; without scripts the same address is a page.
document.addEventListener("click", async (event) => {
  const opens = event.target.closest(".sheet-open");
  if (!opens || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  await htmx.ajax("GET", opens.getAttribute("href"), { source: "#live", target: "#sheet", swap: "innerHTML" });
  const sheet = document.getElementById("sheet");
  if (sheet.firstElementChild && !sheet.open) sheet.showModal();
});

// A command that was carried out closes its sheet; one that was refused says why in it.
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx?.sourceElement?.matches?.("[data-sheet]") && ctx.response?.raw?.ok) document.getElementById("sheet")?.close();
});
