// Figures of a completed run beside its histogram: score against answer length, sources, clusters.

import { get } from "./api.js";
import { h, scroller } from "./dom.js";
import { count, decimal, percent } from "./format.js";
import { axis, figure, seriesInk } from "./plot.js";
import { openRecord } from "./record.js";
import { hostile } from "./text.js";

const POINTS = 2000;
const CURVES = 6;

/** A sample of the rows, one point each; a click on a point opens its row. */
export async function lengthFigure(run, signal) {
  const points = await get(`/runs/${run.id}/points`, { query: { limit: POINTS }, signal });
  if (!points.row.length) return h("p.hint", "No row has a score.");
  const plot = figure("Scatter plot: score against answer tokens", draw, signal, (point) => openRecord(run, point.customdata, signal));
  function draw(colours) {
    return {
      data: [
        {
          type: "scatter",
          mode: "markers",
          x: points.x,
          y: points.y,
          customdata: points.row,
          hovertemplate: "row %{customdata}: %{x} tokens, score %{y:.4f}<extra></extra>",
          marker: { color: colours.accent, size: 4, opacity: 0.5 },
        },
      ],
      layout: {
        hovermode: "closest",
        xaxis: axis(colours, "Answer tokens", { type: "log", range: decades(points.x), dtick: "D2" }),
        yaxis: axis(colours, "Score", { range: bounds(points.y) }),
      },
    };
  }
  const all = points.scored === points.row.length;
  return h("div", plot.element, h("p.hint", all ? "Every scored row." : `A sample of ${count(points.row.length)} of ${count(points.scored)} scored rows.`));
}

/** From the lowest to where one in a hundred lies above: a few extremes would flatten everything else. */
function bounds(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[0], sorted[Math.floor(0.995 * (sorted.length - 1))]];
  const margin = 0.04 * (high - low || 1);
  return [low - margin, high + margin];
}

const decades = (values) => [Math.log10(Math.min(...values)) - 0.05, Math.log10(Math.max(...values)) + 0.05];

/** Every source with its rows, and its scores as a box from 5 to 95 % with the quartiles in it. */
export function sourceTable(run, { data, num_sources: all }, selection, signal) {
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
        h("thead", h("tr", head.map(([title, number]) => h(number ? "th.number" : "th", { scope: "col" }, title)))),
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

/** The clusters of a run: how large they are, and of S2L how the losses of the largest fell. */
export function clusterFigure({ data, num_clusters: all, steps }, signal) {
  const sizes = figure(`Bar chart: sizes of the ${all} clusters`, (colours) => ({
    data: [
      {
        type: "bar",
        x: data.map((_, index) => index + 1),
        y: data.map(({ rows }) => rows),
        customdata: data.map(({ cluster, mean_score: mean }) => [cluster, decimal(mean)]),
        hovertemplate: "cluster %{customdata[0]}: %{y} rows, mean score %{customdata[1]}<extra></extra>",
        marker: { color: colours.accent },
      },
    ],
    layout: { xaxis: axis(colours, "Cluster, largest first", { showgrid: false }), yaxis: axis(colours, "Rows") },
  }), signal);
  const curves = steps === null ? null : lossCurves(data.filter(({ losses }) => losses).slice(0, CURVES), steps, signal);
  return h("div.pair", h("div", sizes.element, h("p.hint", told(data, all))), curves);
}

function told(data, all) {
  const small = data.filter(({ rows }) => rows <= 2).length;
  const shown = all > data.length ? ` The ${count(data.length)} largest are drawn.` : "";
  return `${count(all)} clusters, ${count(small)} of them with two rows or fewer.${shown}`;
}

function lossCurves(clusters, steps, signal) {
  const plot = figure("Line chart: mean loss of the largest clusters at each checkpoint", (colours) => ({
    data: clusters.map(({ cluster, rows, losses }, index) => ({
      type: "scatter",
      mode: "lines",
      x: steps,
      y: losses,
      hovertemplate: `cluster ${cluster} (${rows} rows): %{y:.3f} at step %{x}<extra></extra>`,
      line: { color: seriesInk(colours, index), width: 1.5 },
    })),
    layout: { hovermode: "closest", xaxis: axis(colours, "Step"), yaxis: axis(colours, "Mean loss, nats") },
  }), signal);
  return h("div", plot.element, h("p.hint", `Mean loss of the ${clusters.length} largest clusters as the proxy learns.`));
}
