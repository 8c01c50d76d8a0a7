// Forms that are filled in step by step: a change of field or comparison asks the server what fits, as a press of its hidden button would.
document.addEventListener("change", ({ target }) => {
  const form = target.matches?.("[data-redraw]") && target.form;
  if (form) form.requestSubmit(form.querySelector('button[value="redraw"]'));
});

// What was chosen by hand gives way to what the server says is chosen now, when rows have moved up. Who pressed Save or Try
// stands in the first field that has to be mended.
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (!["rule-form", "lab-form", "view-form"].includes(ctx?.sourceElement?.id)) return;
  for (const option of document.querySelectorAll(".rule-form option[selected]")) option.selected = true;
  if (!["save", "try", "start"].includes(ctx.request?.submitter?.value)) return;
  document.querySelector(".rule-form [aria-invalid]")?.focus();
});
