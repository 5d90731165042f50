// A dataset before it is scored: its first rows, what a method and a model would make of it and how long it would take.

import { get, keyPerContent, post, remove } from "./api.js";
import { choice, facts, field, fill, h, scroller } from "./dom.js";
import { METHODS, bytes, count, duration, modelName, percent, words } from "./format.js";
import { rejectionList } from "./rejections.js";
import { follow } from "./stream.js";
import { hostile, plain } from "./text.js";

const WHAT = {
  ifd: "How much the prompt helps a frozen model with the answer. Fast.",
  learning_percentage: "How soon a model learns each row. Trains the model on the dataset first.",
  s2l: "Groups rows that a model learns alike. Trains the model on the dataset first.",
};

/** The panel of a stored dataset: choices, estimate, first rows, start. One that `isNew` goes again if it is discarded. */
export function previewPanel(dataset, models, isNew, signal, onClosed) {
  const method = choice(Object.entries(METHODS), "ifd", { onchange: again });
  const about = h("p.hint");
  const model = choice(
    models.map(({ id }) => [id, plain(modelName(id))]),
    models.find((each) => each.default)?.id,
    { onchange: again },
  );
  const name = h("input", { type: "text", maxlength: 200, placeholder: plain(dataset.name ?? "") });
  const estimate = h("div", { "aria-live": "polite" });
  const rows = h("div");
  const status = h("p.error", { role: "alert" });
  const start = h("button.primary", { type: "submit" }, "Start scoring");
  const keyOf = keyPerContent();
  let asking = new AbortController();

  /** The choices as `POST /score` takes them. */
  const options = () => ({ dataset: dataset.id, method: method.value, model: model.value });

  async function again() {
    asking.abort();
    asking = new AbortController();
    const own = AbortSignal.any([signal, asking.signal]);
    fill(about, WHAT[method.value]);
    fill(status);
    start.disabled = false;
    fill(estimate, h("p.hint", "Looking at the rows …"));
    try {
      const run = await dryRun(options(), own, (waiting) => fill(estimate, h("p.hint", waiting)));
      await show(run, own);
    } catch (problem) {
      if (!own.aborted) fill(estimate, h("p.error", problem.message));
    }
  }
  async function show(run, own) {
    if (run.error) {
      const { data } = await get(`/datasets/${dataset.id}/rejections`, { query: { limit: 100 }, signal: own });
      fill(estimate, h("div.failure", { role: "alert" }, h("p", run.error.message)));
      fill(rows, data.length > 0 && rejectionList(data));
      start.disabled = true;
      return;
    }
    fill(estimate, figures(run.estimate, dataset));
    fill(rows, firstRows(run.estimate));
  }
  async function begin(event) {
    event.preventDefault();
    start.disabled = true;
    try {
      const json = { ...options(), name: name.value || dataset.name };
      const run = await post("/score", { json, idempotencyKey: keyOf(json) });
      location.hash = `#/runs/${run.id}`;
    } catch (problem) {
      fill(status, problem.message);
      start.disabled = false;
    }
  }
  /** Deleting a dataset deletes its runs, so only one goes that came with this upload and that nothing rests on. */
  async function discard() {
    try {
      const query = { dataset: dataset.id, dry_runs: false, limit: 1 };
      if (isNew && !(await get("/runs", { query, signal })).data.length) await remove(`/datasets/${dataset.id}`);
    } catch (problem) {
      if (!signal.aborted) fill(status, problem.message);
      return;
    }
    asking.abort();
    panel.remove();
    onClosed();
  }

  const panel = h(
    "section.panel.preview",
    { "aria-labelledby": "preview-title" },
    h(
      "h2",
      { id: "preview-title" },
      h("bdi", plain(dataset.name ?? dataset.id, 120)),
      h("span.count", bytes(dataset.size_bytes)),
    ),
    h(
      "div.split",
      h("div", estimate, rows),
      h(
        "form",
        { onsubmit: begin },
        field("Method", method),
        about,
        field("Model", model),
        field("Name of the run", name),
        h("div.actions", start, h("button", { type: "button", onclick: discard }, isNew ? "Discard" : "Close")),
        status,
      ),
    ),
  );
  again();
  return panel;
}

/** A dry run, followed to its end; one that is no longer wanted is cancelled. */
async function dryRun(options, signal, onWaiting) {
  const started = await post("/score", { json: { ...options, dry_run: true }, signal });
  let over = false;
  signal.addEventListener("abort", () => over || post(`/runs/${started.id}/cancel`).catch(() => {}));
  for await (const { event } of follow(`/runs/${started.id}/events`, { signal })) {
    if (event === "progress") continue;
    const now = await get(`/runs/${started.id}`, { signal });
    if (now.waits_for) onWaiting(now.waits_for);
  }
  over = true;
  return get(`/runs/${started.id}`, { signal });
}

function figures(estimate, dataset) {
  const exact = estimate.rows_sampled === estimate.rows;
  const reasons = Object.entries(estimate.rejected_by_reason).map(
    ([reason, rows]) => `${words(reason)} ${count(rows)}`,
  );
  return h(
    "div",
    facts([
      ["Format", estimate.format ?? dataset.format],
      ["Rows", count(estimate.rows)],
      ["Can be scored", `${count(estimate.rows_scored)} (${percent(1 - estimate.share_rejected)})`],
      ["Rejected", estimate.rows_rejected ? `${count(estimate.rows_rejected)}: ${reasons.join(", ")}` : "none"],
      ["Truncated", percent(estimate.share_truncated)],
      ["Tokens read", count(estimate.tokens_read)],
      [
        "Time",
        estimate.seconds === null ? null : `about ${duration(estimate.seconds / Math.max(1, estimate.workers))}`,
      ],
      [
        "Speed",
        estimate.rows_per_s === null
          ? null
          : `${count(Math.round(estimate.rows_per_s))} rows/s a worker, ${count(estimate.workers)} now`,
      ],
    ]),
    !exact && h("p.hint", `Counted on ${count(estimate.rows_sampled)} rows and scaled to all.`),
  );
}

function firstRows({ first_rows: first = [], rejections = [] }) {
  const line = ({ row, prompt, answer }) =>
    h("tr", h("td.number", count(row)), h("td", hostile(prompt ?? "")), h("td", hostile(answer ?? "")));
  return h(
    "div",
    first.length > 0 && h("h3", "First rows"),
    first.length > 0 &&
      scroller(
        "First rows",
        h(
          "table.data.first",
          h("caption.visually-hidden", "First rows"),
          h(
            "thead",
            h(
              "tr",
              h("th.number", { scope: "col" }, "Row"),
              h("th", { scope: "col" }, "Prompt"),
              h("th", { scope: "col" }, "Answer"),
            ),
          ),
          h("tbody", first.map(line)),
        ),
      ),
    rejections.length > 0 && h("h3", "Rejected, the first of them"),
    rejections.length > 0 && rejectionList(rejections),
  );
}
