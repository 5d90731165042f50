// One row, whole, in a dialog: every turn, the scores, and the record as it came in.

import { get } from "./api.js";
import { facts, fill, h } from "./dom.js";
import { count, decimal, words } from "./format.js";
import { hostile, longText } from "./text.js";

/** Fetch a row of a run and show it; the dialog closes with Escape, its button, or the page. */
export async function openRecord(run, row, signal) {
  const body = h("div", h("p.hint", "Reading …"));
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog.record",
    { "aria-labelledby": "record-title", onclose: () => dialog.remove() },
    h("div.dialog-head", h("h2", { id: "record-title" }, `Row ${count(row)}`), close),
    body,
  );
  document.body.append(dialog);
  signal.addEventListener("abort", () => dialog.close());
  dialog.showModal();
  try {
    const found = await get(`/runs/${run.id}/rows/${row}`, { signal });
    fill(body, scores(found), (found.turns ?? []).map(turn), asItCame(found));
  } catch (problem) {
    if (!signal.aborted) fill(body, h("p.error", { role: "alert" }, problem.message));
  }
}

function scores(row) {
  if (row.status === "rejected") {
    return h("p.error", h("strong", words(row.reason)), ": ", hostile(row.detail ?? ""));
  }
  return facts([
    ["Score", decimal(row.score, 6)],
    ["Loss given the prompt", `${decimal(row.loss_conditioned)} over ${count(row.tokens_conditioned)} tokens`],
    [
      "Loss of the answer alone",
      row.loss_direct === null ? null : `${decimal(row.loss_direct)} over ${count(row.tokens_direct)} tokens`,
    ],
    ["Flags", row.flags?.length ? row.flags.map(words).join(", ") : null],
    ["Cluster", row.cluster],
    ["Source", row.source === null ? null : hostile(row.source)],
  ]);
}

function turn({ role, content }) {
  return h("section.turn", h("h3", role), longText(content, role));
}

function asItCame({ record }) {
  const fold = h("details.fold", h("summary", "The record as it came in"));
  // Built when it is opened: most readers never do, and it may be megabytes.
  fold.addEventListener("toggle", () => fold.append(longText(record, "Record")), { once: true });
  return fold;
}
