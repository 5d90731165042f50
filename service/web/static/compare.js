// Two runs over one dataset: how far they rank its rows alike, and how much of a subset they have in common.

import { get } from "./api.js";
import { choice, facts, field, fill, h, scroller, section } from "./dom.js";
import { METHODS, count, decimal, modelName, moment, percent } from "./format.js";
import { axis, figure, legend } from "./plot.js";
import { plain } from "./text.js";

const PARTNERS = 100;

/** A choice among the other completed runs of the same dataset. */
export async function comparisonPicker(run, signal) {
  const query = { dataset: run.dataset, status: "completed", dry_runs: false, limit: PARTNERS };
  const { data } = await get("/runs", { query, signal });
  const others = data.filter(({ id }) => id !== run.id);
  if (!others.length)
    return h("p.hint", "This dataset has no other completed run. Score it with another method or model to compare.");
  const other = choice(
    others.map((each) => [each.id, inShort(each)]),
    others[0].id,
  );
  const go = () => (location.hash = `#/compare/${run.id}/${other.value}`);
  return h("div.row", field("Other run", other), h("button", { type: "button", onclick: go }, "Compare"));
}

const inShort = (run) =>
  `${METHODS[run.method]}, ${modelName(run.model)}, ${moment(run.created_at)}${run.name ? `, ${plain(run.name)}` : ""}`;

/** The page that compares the runs `first` and `second`. */
export async function showComparison(main, [first, second], { signal, title }) {
  title("Compare two runs");
  const runs = await Promise.all([first, second].map((id) => get(`/runs/${id}`, { signal })));
  const agreement = await get(`/runs/${first}/agreement/${second}`, { signal });
  fill(
    main,
    h("header.page-head", h("h1", { tabindex: "-1" }, "Compare two runs")),
    h(
      "div.pair",
      runs.map((run, index) => card(run, "AB"[index])),
    ),
    h(
      "div.pair",
      section("Agreement", correlations(agreement), overlaps(agreement)),
      section("Overlap of what both would keep", overlapFigure(agreement, signal)),
    ),
  );
}

function card(run, letter) {
  return h(
    "div.panel",
    h("h2", `${letter}: `, h("a", { href: `#/runs/${run.id}` }, run.name ? plain(run.name) : METHODS[run.method])),
    facts([
      ["Method", METHODS[run.method]],
      ["Model", modelName(run.model)],
      ["Template", run.options.template],
      ["Rows scored", count(run.counts.rows_scored)],
      ["Started", moment(run.created_at)],
    ]),
  );
}

function correlations({ rows, spearman, kendall, partial, length }) {
  const interval = ({ value, low, high }) =>
    value === null ? "–" : `${decimal(value, 3)} (95 %: ${decimal(low, 3)} to ${decimal(high, 3)})`;
  return [
    facts([
      ["Rows that both scored", count(rows)],
      ["Spearman", interval(spearman)],
      ["Kendall", decimal(kendall, 3)],
      ["Given answer length", interval(partial)],
      ["Of A with length", decimal(length[0], 3)],
      ["Of B with length", decimal(length[1], 3)],
    ]),
    h("p.hint", "Answer length alone ranks rows too. “Given answer length” is what the runs share beyond it."),
  ];
}

const SERIES = [
  ["highest", "accent", "solid"],
  ["lowest", "second", "solid"],
  ["chance", "muted", "dot"],
];

function overlapFigure({ overlaps: data }, signal) {
  const ticks = data.map(({ ratio }) => 100 * ratio);
  const plot = figure(
    "Line chart: share of rows that both runs would keep, by ratio",
    (colours) => ({
      data: SERIES.map(([name, ink, dash]) => ({
        type: "scatter",
        mode: "lines+markers",
        x: ticks,
        y: data.map((overlap) => 100 * overlap[name]),
        hovertemplate: `${name}: %{y:.1f} % at %{x} %<extra></extra>`,
        line: { color: colours[ink], dash, width: 1.5 },
        marker: { color: colours[ink], size: 5 },
      })),
      layout: {
        hovermode: "closest",
        xaxis: axis(colours, "Ratio, %", { type: "log", tickvals: ticks }),
        yaxis: axis(colours, "In common, %", { range: [0, 102] }),
      },
    }),
    signal,
  );
  return h(
    "div",
    plot.element,
    legend([
      ["accent", "highest scores"],
      ["second", "lowest scores"],
      ["muted", "unrelated runs"],
    ]),
  );
}

function overlaps({ overlaps: data }) {
  const cells = ({ highest, lowest, chance }) =>
    [highest, lowest, chance].map((share) => h("td.number", percent(share)));
  return scroller(
    "Overlap by ratio",
    h(
      "table.data",
      h("caption.visually-hidden", "Share in common, by ratio"),
      h(
        "thead",
        h(
          "tr",
          ["Ratio", "Highest", "Lowest", "Unrelated"].map((text) => h("th.number", { scope: "col" }, text)),
        ),
      ),
      h(
        "tbody",
        data.map((overlap) => h("tr", h("th.number", { scope: "row" }, percent(overlap.ratio, 0)), cells(overlap))),
      ),
    ),
  );
}
