// What a selection comes to: rows kept, the threshold, what each rule took, and how the kept rows differ from all.

import { announcer, fill, h } from "./dom.js";
import { count, decimal, percent, shareOf } from "./format.js";
import { RULES, keptEnd } from "./selection.js";

/** A panel that follows the answer of `selection`. */
export function outcomePanel(run, { asked, answer }, signal) {
  const panel = h("div.outcome", { "aria-busy": "true" });
  const spoken = announcer(0);
  answer.subscribe(show, signal);
  show(answer.get());
  return h("div", panel, spoken.region);

  function show({ manifest, problem, pending, waiting }) {
    panel.setAttribute("aria-busy", String(pending));
    if (problem) return fill(panel, h("p.error", { role: "alert" }, problem.message));
    if (waiting) return fill(panel, h("p.hint", { role: "status" }, waiting));
    if (manifest === null) return fill(panel, h("p.hint", "Counting …"));
    if (pending) return panel;
    spoken.say(`${count(manifest.rows_selected)} of ${count(manifest.rows_read)} rows are kept.`);
    return fill(
      panel,
      headline(manifest, keptEnd(run, asked.get())),
      bar(manifest),
      rules(manifest),
      comparison(manifest),
    );
  }
}

function headline({ rows_selected: kept, rows_read: read, threshold }, end) {
  const sign = end === "high" ? "≥" : "≤";
  return h(
    "p.headline",
    h("strong", { id: "rows-kept" }, count(kept)),
    ` of ${count(read)} rows (${shareOf(kept, read)})`,
    end && threshold !== null && h("span.threshold", `score ${sign} ${decimal(threshold)}`),
  );
}

/** All rows as one bar, divided as the rules divide them. */
function bar({ rows_selected: kept, rows_read: read, taken_by_rule: taken }) {
  const parts = [["kept", kept], ...Object.entries(taken)].filter(([, rows]) => rows);
  return h(
    "div.stack",
    { "aria-hidden": "true" },
    parts.map(([name, rows]) => {
      const part = h(`span.part-${name}`);
      part.style.flexGrow = rows / read;
      return part;
    }),
  );
}

function rules({ rows_selected: kept, rows_read: read, rows_wanted: wanted, taken_by_rule: taken }) {
  const line = (name, text, rows) =>
    h("tr", h(`th.part-${name}`, { scope: "row" }, text), h("td", count(rows)), h("td", shareOf(rows, read)));
  const taking = Object.entries(taken).filter(([, rows]) => rows);
  return h(
    "table.plain",
    h("caption.visually-hidden", "What becomes of the rows"),
    h(
      "tbody",
      line("kept", "Kept", kept),
      taking.map(([rule, rows]) => line(rule, RULES[rule] ?? rule, rows)),
    ),
    kept < wanted &&
      h("tfoot", h("tr", h("td", { colspan: 3 }, `${count(wanted)} were asked for; the rules leave fewer.`))),
  );
}

function comparison({ comparison: of, clusters, duplicates }) {
  const tokens = of.answer_tokens;
  const truncated = of.share_truncated;
  const line = (name, selected, all) => h("tr", h("th", { scope: "row" }, name), h("td", selected), h("td", all));
  return h(
    "table.plain.against",
    h("caption.visually-hidden", "The kept rows against all scored rows"),
    h("thead", h("tr", h("td"), h("th", { scope: "col" }, "kept"), h("th", { scope: "col" }, "all"))),
    h(
      "tbody",
      line("Median answer, tokens", count(tokens.selected.median), count(tokens.all.median)),
      line("Median score", decimal(of.score.selected.median), decimal(of.score.all.median)),
      line("Truncated", percent(truncated.selected), percent(truncated.all)),
      clusters && line("Clusters", count(clusters.selected), count(clusters.all)),
      line("Exact duplicates", count(duplicates), ""),
    ),
  );
}
