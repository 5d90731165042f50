// The runs and fine-tunes of the caller, the newest first, page by page.

import { get } from "./api.js";
import { fill, h, scroller } from "./dom.js";
import { METHODS, count, modelName, moment } from "./format.js";
import { plain } from "./text.js";

const PAGE = 20;

export function runList(signal) {
  return list({
    path: "/runs",
    empty: "None yet. Drop a file above, or POST one to /score.",
    label: "Runs",
    heads: ["Run", "Status", "Method", "Model", "Rows", "Started"],
    wanted: (run) => !run.dry_run,
    line: (run) => [
      h("th", { scope: "row" }, h("a", { href: `#/runs/${run.id}` }, h("bdi", run.name ? plain(run.name, 80) : run.id))),
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
    wanted: () => true,
    line: (job) => [
      h("th", { scope: "row" }, h("a", { href: `#/jobs/${job.id}` }, job.user_provided_suffix ?? job.id)),
      h("td", { "data-title": "Status" }, h("span", { class: `status ${job.status}` }, job.status.replaceAll("_", " "))),
      h("td", { "data-title": "Base model" }, plain(modelName(job.model))),
      h("td.number", { "data-title": "Step" }, job.winnow.total_steps ? `${count(job.winnow.step)} of ${count(job.winnow.total_steps)}` : "–"),
      h("td", { "data-title": "Started" }, moment(job.created_at)),
    ],
    signal,
  });
}

const NUMBERS = new Set(["Rows", "Step"]);

async function list({ path, empty, label, heads, wanted, line, signal }) {
  const body = h("tbody");
  const status = h("p.hint", { role: "status" });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: load }, "Show more");
  let after = null;
  async function load() {
    const page = await get(path, { query: { limit: PAGE, after }, signal });
    body.append(...page.data.filter(wanted).map((item) => h("tr", line(item))));
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
      h("thead", h("tr", heads.map((head) => h(NUMBERS.has(head) ? "th.number" : "th", { scope: "col" }, head)))),
      body,
    ),
  );
  await load();
  return h("div", table, h("div.pager", status, more));
}
