// The runs, fine-tunes and datasets of the caller, the newest first, page by page.

import { get, remove } from "./api.js";
import { confirmed } from "./confirm.js";
import { fill, h, scroller } from "./dom.js";
import { METHODS, count, modelName, moment } from "./format.js";
import { plain } from "./text.js";

const PAGE = 20;

export function runList(signal) {
  return list({
    path: "/runs",
    query: { dry_runs: false },
    empty: "None yet. Drop a file above, or POST one to /score.",
    label: "Runs",
    heads: ["Run", "Status", "Method", "Model", "Rows", "Started"],
    line: (run) => [
      h(
        "th",
        { scope: "row" },
        h("a", { href: `#/runs/${run.id}` }, h("bdi", run.name ? plain(run.name, 80) : run.id)),
      ),
      h("td", { "data-title": "Status" }, h("span", { class: `status ${run.status}` }, run.status)),
      h("td", { "data-title": "Method" }, METHODS[run.method]),
      h("td", { "data-title": "Model" }, plain(modelName(run.model))),
      h("td.number", { "data-title": "Rows" }, count(run.counts.rows)),
      h("td", { "data-title": "Started" }, moment(run.created_at)),
    ],
    signal,
  });
}

export function jobList(signal) {
  return list({
    path: "/v1/fine_tuning/jobs",
    empty: "None yet. A completed run offers one on its subset.",
    label: "Fine-tunes",
    heads: ["Fine-tune", "Status", "Base model", "Step", "Started"],
    line: (job) => [
      h("th", { scope: "row" }, h("a", { href: `#/jobs/${job.id}` }, job.user_provided_suffix ?? job.id)),
      h(
        "td",
        { "data-title": "Status" },
        h("span", { class: `status ${job.status}` }, job.status.replaceAll("_", " ")),
      ),
      h("td", { "data-title": "Base model" }, plain(modelName(job.model))),
      h(
        "td.number",
        { "data-title": "Step" },
        job.winnow.total_steps ? `${count(job.winnow.step)} of ${count(job.winnow.total_steps)}` : "–",
      ),
      h("td", { "data-title": "Started" }, moment(job.created_at)),
    ],
    signal,
  });
}

/** `onDeleted` is called once a dataset and what was made of it are gone. */
export function datasetList(signal, onDeleted) {
  const told = h("p.error", { role: "alert" });
  const nameOf = (dataset) => h("bdi", dataset.name ? plain(dataset.name, 80) : dataset.id);
  async function take(dataset) {
    const consequence = "Its runs with their scores and its trajectories are deleted with it.";
    if (!(await confirmed("Delete this dataset?", consequence, "Delete", signal))) return;
    try {
      await remove(`/datasets/${dataset.id}`);
      await onDeleted();
    } catch (problem) {
      if (!signal.aborted) fill(told, problem.message);
    }
  }
  const shown = list({
    path: "/datasets",
    empty: "None yet.",
    label: "Datasets",
    heads: ["Dataset", "Status", "Rows", "Added", "What to do"],
    line: (dataset) => [
      h("th", { scope: "row" }, nameOf(dataset)),
      h("td", { "data-title": "Status" }, h("span", { class: `status ${dataset.status}` }, dataset.status)),
      h("td.number", { "data-title": "Rows" }, count(dataset.rows_read)),
      h("td", { "data-title": "Added" }, moment(dataset.created_at)),
      h(
        "td",
        { "data-title": "What to do" },
        h("a", { href: `#/?dataset=${dataset.id}` }, dataset.rows_read === null ? "Look at it" : "Score again"),
        " ",
        h("button.quiet", { type: "button", onclick: () => take(dataset) }, "Delete"),
      ),
    ],
    signal,
  });
  return shown.then((element) => h("div", element, told));
}

const NUMBERS = new Set(["Rows", "Step"]);

async function list({ path, query, empty, label, heads, line, signal }) {
  const body = h("tbody");
  const status = h("p.hint", { role: "status" });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: load }, "Show more");
  let after = null;
  async function load() {
    const page = await get(path, { query: { ...query, limit: PAGE, after }, signal });
    body.append(...page.data.map((item) => h("tr", line(item))));
    after = page.data.at(-1)?.id ?? null;
    more.hidden = !page.has_more;
    fill(status, body.hasChildNodes() ? null : empty);
    table.hidden = !body.hasChildNodes();
  }
  const table = scroller(
    label,
    h(
      "table.data.cards",
      h("caption.visually-hidden", label),
      h(
        "thead",
        h(
          "tr",
          heads.map((head) => h(NUMBERS.has(head) ? "th.number" : "th", { scope: "col" }, head)),
        ),
      ),
      body,
    ),
  );
  await load();
  return h("div", table, h("div.pager", status, more));
}
