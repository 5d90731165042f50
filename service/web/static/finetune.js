// Starting a fine-tune on the selected rows.

import { keyPerContent, post } from "./api.js";
import { choice, field, fill, h } from "./dom.js";
import { modelName } from "./format.js";
import { reference } from "./selection.js";

/** A form in a fold; sends the reader to the page of the job. `models` are those of the installation. */
export function fineTuneForm(run, { asked, answer }, models) {
  const bases = models.filter((model) => model.base === null);
  const model = choice(
    bases.map(({ id }) => [id, modelName(id)]),
    bases.find(({ id }) => id === run.model)?.id,
  );
  const epochs = h("input", { type: "number", min: 1, max: 50, step: 1, placeholder: "auto" });
  const suffix = h("input", {
    type: "text",
    maxlength: 64,
    pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
    spellcheck: "false",
  });
  const status = h("p.error", { role: "alert" });
  const keyOf = keyPerContent();
  const button = h("button.primary", { type: "submit" }, "Start");
  const form = h(
    "form",
    { onsubmit: start },
    h("div.row", field("Model", model), field("Epochs", epochs)),
    field("Name", suffix, "Letters, digits, dots and dashes; becomes a part of the model's name."),
    h("div.actions", button),
    status,
  );
  return h("details.fold", h("summary", "Fine-tune on this subset"), form);

  async function start(event) {
    event.preventDefault();
    if (answer.get().problem) return;
    button.disabled = true;
    fill(status);
    try {
      const hyperparameters = { n_epochs: epochs.value ? Number(epochs.value) : "auto" };
      const json = {
        model: model.value,
        training_file: reference(run, asked.get()),
        method: { type: "supervised", supervised: { hyperparameters } },
        ...(suffix.value ? { suffix: suffix.value } : {}),
      };
      const job = await post("/v1/fine_tuning/jobs", { json, idempotencyKey: keyOf(json) });
      location.hash = `#/jobs/${job.id}`;
    } catch (problem) {
      fill(status, problem.message);
      button.disabled = false;
    }
  }
}
