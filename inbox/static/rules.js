// The rule form: a change of field or comparison asks the server what fits, as a press of its hidden button would.
document.addEventListener("change", ({ target }) => {
  const form = target.matches?.("[data-redraw]") && target.form;
  if (form) form.requestSubmit(form.querySelector('button[value="redraw"]'));
});

// Who pressed Save or Try stands in the first field that has to be mended.
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  if (ctx?.sourceElement?.id !== "rule-form" || !["save", "try"].includes(ctx.request?.submitter?.value)) return;
  document.querySelector("#rule-form [aria-invalid]")?.focus();
});
