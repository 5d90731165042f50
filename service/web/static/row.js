// A row of the table: its numbers, flags and source, and a button with its text that opens it whole.

import { h } from "./dom.js";
import { count, decimal, words } from "./format.js";
import { hostile } from "./text.js";

const COLUMNS = [
  { name: "row", title: "Row", cell: (row) => count(row.row) },
  { name: "score", title: "Score", cell: (row) => decimal(row.score) },
  {
    name: "loss_conditioned",
    title: "Loss",
    hint: "Nats per token of the answer, given the prompt",
    cell: (row) => decimal(row.loss_conditioned, 3),
  },
  {
    name: "loss_direct",
    title: "Alone",
    hint: "Nats per token of the answer by itself",
    only: "ifd",
    cell: (row) => decimal(row.loss_direct, 3),
  },
  {
    name: "tokens_conditioned",
    title: "Tokens",
    hint: "Scored tokens of the answer",
    cell: (row) => count(row.tokens_conditioned),
  },
];

/** The columns that sort, of a run with this method. */
export const columnsOf = (method) => COLUMNS.filter(({ only }) => only === undefined || only === method);

/** One line; `manifest` decides on which side of the threshold it lies, `open` shows the row whole. */
export function rowLine(row, { columns, withSource, manifest, open }) {
  return h(
    "tr",
    { class: side(row, manifest) },
    columns.map(({ title, cell }) => h("td.number", { "data-title": title }, cell(row))),
    h(
      "td.flags",
      { "data-title": "Flags" },
      (row.flags ?? []).map((name) => h("span.chip", words(name))),
    ),
    withSource && h("td.source", { "data-title": "Source" }, row.source === null ? "–" : hostile(row.source)),
    h(
      "td.record",
      h("button.record", { type: "button", onclick: open, title: `Read row ${row.row} whole` }, excerpt(row)),
    ),
  );
}

function excerpt(row) {
  const read =
    row.prompt === null && row.answer === null
      ? [h("span.prompt", hostile(row.record ?? ""))]
      : [h("span.prompt", hostile(row.prompt ?? "")), h("span.answer", hostile(row.answer ?? ""))];
  if (row.status === "scored") return read;
  return [h("span.reason", words(row.reason)), h("span.detail", hostile(row.detail ?? "")), read];
}

/** Which side of the threshold a row lies on, where scores alone decide; of equal scores the first rows are kept. */
function side(row, manifest) {
  if (row.score === null || manifest === null || manifest.threshold === null) return null;
  const lowest = manifest.selection.strategy === "bottom";
  const ahead = lowest ? row.score < manifest.threshold : row.score > manifest.threshold;
  const kept = ahead || (row.score === manifest.threshold && row.row <= manifest.threshold_row);
  return kept && fits(row, manifest, lowest) ? "kept" : "dropped";
}

/** Whether the rules leave a row in. */
function fits(row, { run, selection }, lowest) {
  if (lowest) return selection.include_unlearned || !row.flags?.includes("unlearned");
  return run.options.method !== "ifd" || row.score < 1;
}
