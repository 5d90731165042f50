// Taking a selection away: as a file, as the curl or the Python that gets exactly it, as its manifest, as a model.

import { address, download, saveText } from "./api.js";
import { fineTuneForm } from "./finetune.js";
import { choice, field, fill, h } from "./dom.js";
import { query } from "./selection.js";

const FORMATS = [
  ["jsonl", "JSON Lines"],
  ["json", "JSON array"],
  ["csv", "CSV"],
  ["parquet", "Parquet"],
  ["label_studio", "Label Studio tasks"],
  ["argilla", "Argilla records"],
];
const SUFFIX = { label_studio: "json", argilla: "jsonl" };

/** The panel under the outcome of a selection. */
export function takePanel(run, selection, models, signal) {
  const { asked, answer } = selection;
  const format = choice(FORMATS, "jsonl", { onchange: show });
  const order = choice(
    [
      ["original", "As in the file"],
      ["score", "Best first"],
    ],
    asked.get().order ?? "original",
    {
      onchange: () => asked.set({ order: order.value }),
    },
  );
  const scores = h("input", { type: "checkbox", id: "with-scores", onchange: show });
  const status = h("p.hint", { role: "status" });
  const save = h("button.primary", { type: "button", onclick: take }, "Download");
  const provenance = h("button", { type: "button", onclick: takeManifest }, "Manifest");
  const commands = [snippet("curl"), snippet("Python")];
  const shown = h(
    "div",
    commands.map(({ element }) => element),
  );
  const train = fineTuneForm(run, selection, models);

  const asQuery = () => ({
    ...query(run, asked.get()),
    include: scores.checked ? "scores" : null,
    format: format.value,
  });
  const filename = () => `${run.id}-subset.${SUFFIX[format.value] ?? format.value}`;

  async function take() {
    fill(status, "Fetching …");
    try {
      await download(address("/subsets", asQuery()), filename());
      fill(status, `Saved as ${filename()}.`);
    } catch (problem) {
      fill(status, problem.message);
    }
  }
  function takeManifest() {
    saveText(JSON.stringify(answer.get().manifest, null, 2), `${run.id}-manifest.json`, "application/json");
  }
  function show() {
    const ready = answer.get().manifest !== null && answer.get().problem === null;
    save.disabled = provenance.disabled = !ready;
    shown.hidden = answer.get().problem !== null;
    commands[0].show(curl(asQuery(), filename()));
    commands[1].show(python(asQuery(), filename()));
  }
  asked.subscribe(show, signal);
  answer.subscribe(show, signal);
  show();
  return h(
    "div.take",
    h("div.row", field("Format", format), field("Order", order)),
    h("div.check", scores, h("label", { for: "with-scores" }, "Add each row's scores")),
    h("div.actions", save, provenance),
    status,
    shown,
    train,
  );
}

function curl(options, filename) {
  const key = `  -H "Authorization: Bearer $WINNOW_API_KEY" \\\n`;
  return `curl --fail -o ${filename} \\\n${needsKey() ? key : ""}  '${location.origin}${address("/subsets", options)}'`;
}

function python(options, filename) {
  const { ratio, ...named } = options;
  const given = Object.entries(named).filter(([, value]) => value !== null);
  const words = [...given.map(([name, value]) => `${name}=${JSON.stringify(value)}`), `ratio=${Number(ratio)}`];
  const key = needsKey() ? `, api_key=os.environ["WINNOW_API_KEY"]` : "";
  return [
    ...(needsKey() ? ["import os", ""] : []),
    "from winnow.client import Client",
    "",
    `with Client(${JSON.stringify(location.origin)}${key}) as winnow:`,
    `    winnow.download(${JSON.stringify(filename)},`,
    ...words.map((word) => `                    ${word},`),
    "    )",
  ].join("\n");
}

const needsKey = () => sessionStorage.getItem("winnow-key") !== null;

/** A command in a fold, to be copied; it stays open while its text changes. */
function snippet(title) {
  const code = h("pre", { tabindex: "0", "aria-label": `${title} command` });
  const copied = h("span.hint", { role: "status" });
  const button = h(
    "button.quiet",
    { type: "button", onclick: copy, "aria-label": `Copy the ${title} command` },
    "Copy",
  );
  async function copy() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copied.textContent = "Copied";
    } catch {
      // Over plain HTTP there is no clipboard; the text is then selected for the keyboard to copy.
      getSelection().selectAllChildren(code);
      copied.textContent = "Selected: press Ctrl+C";
    }
  }
  function show(text) {
    code.textContent = text;
    copied.textContent = "";
  }
  return { element: h("details.fold", h("summary", title), h("div.actions", button, copied), code), show };
}
