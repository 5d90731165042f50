// The sources of a dataset: how many rows of each are kept, and how their scores are spread.

import { h, scroller } from "./dom.js";
import { count, decimal, percent } from "./format.js";
import { hostile } from "./text.js";

/** Every source with its rows, and its scores as a box from 5 to 95 % with the quartiles in it. */
export function sourceTable({ data, num_sources: all }, selection, signal) {
  const scored = data.filter(({ quantiles }) => quantiles);
  const low = Math.min(...scored.map(({ quantiles }) => quantiles["5"]));
  const high = Math.max(...scored.map(({ quantiles }) => quantiles["95"]));
  const kept = new Map();
  const lines = data.map((source) => {
    const cell = h("td.number", { "data-title": "Kept" }, "–");
    kept.set(source.source, { cell, rows: source.rows });
    return h(
      "tr",
      h("th", { scope: "row" }, source.source === null ? h("em", "no source") : hostile(source.source)),
      h("td.number", { "data-title": "Rows" }, count(source.rows)),
      cell,
      h("td.number", { "data-title": "Mean" }, decimal(source.mean_score)),
      h("td.wide", box(source.quantiles, low, high)),
      h("td.number", { "data-title": "Tokens" }, source.mean_tokens === null ? "–" : source.mean_tokens.toFixed(0)),
    );
  });
  const show = ({ manifest, pending }) => {
    if (pending || manifest === null) return;
    for (const { cell } of kept.values()) cell.textContent = "–";
    for (const { source, selected } of manifest.sources) {
      const line = kept.get(source);
      if (line) line.cell.textContent = `${count(selected)} (${percent(line.rows ? selected / line.rows : null)})`;
    }
  };
  selection.answer.subscribe(show, signal);
  show(selection.answer.get());
  const head = [["Source"], ["Rows", true], ["Kept", true], ["Mean score", true], ["5 to 95 %"], ["Mean tokens", true]];
  return h(
    "div",
    scroller(
      "Sources",
      h(
        "table.data.cards",
        h("caption.visually-hidden", "Sources of the dataset"),
        h(
          "thead",
          h(
            "tr",
            head.map(([title, number]) => h(number ? "th.number" : "th", { scope: "col" }, title)),
          ),
        ),
        h("tbody", lines),
      ),
    ),
    all > data.length && h("p.hint", `The ${count(data.length)} largest of ${count(all)} sources.`),
  );
}

function box(quantiles, low, high) {
  if (!quantiles) return "–";
  const at = (percentile) => (100 * (quantiles[percentile] - low)) / (high - low || 1);
  const [whisker, body, middle] = [h("span.whisker"), h("span.quartiles"), h("span.median")];
  place(whisker, at("5"), at("95"));
  place(body, at("25"), at("75"));
  middle.style.left = `${at("50")}%`;
  const told = `5 %: ${decimal(quantiles["5"])}, median ${decimal(quantiles["50"])}, 95 %: ${decimal(quantiles["95"])}`;
  return h("span.spread", { role: "img", "aria-label": told, title: told }, whisker, body, middle);
}

function place(element, from, to) {
  element.style.left = `${from}%`;
  element.style.width = `${to - from}%`;
}
