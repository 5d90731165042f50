// Figures of a completed run beside its histogram: score against answer length, clusters.

import { get } from "./api.js";
import { h } from "./dom.js";
import { count, decimal } from "./format.js";
import { axis, figure, seriesInk } from "./plot.js";
import { openRecord } from "./record.js";

const POINTS = 2000;
const CURVES = 6;

/** A sample of the rows, one point each; a click on a point opens its row. */
export async function lengthFigure(run, signal) {
  const points = await get(`/runs/${run.id}/points`, { query: { limit: POINTS }, signal });
  if (!points.row.length) return h("p.hint", "No row has a score.");
  const plot = figure("Scatter plot: score against answer tokens", draw, signal, (point) =>
    openRecord(run, point.customdata, signal),
  );
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
  return h(
    "div",
    plot.element,
    h(
      "p.hint",
      all ? "Every scored row." : `A sample of ${count(points.row.length)} of ${count(points.scored)} scored rows.`,
    ),
  );
}

/** From the lowest to where one in a hundred lies above: a few extremes would flatten everything else. */
function bounds(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[0], sorted[Math.floor(0.995 * (sorted.length - 1))]];
  const margin = 0.04 * (high - low || 1);
  return [low - margin, high + margin];
}

const decades = (values) => [Math.log10(Math.min(...values)) - 0.05, Math.log10(Math.max(...values)) + 0.05];

/** The clusters of a run: their sizes, of which a click shows the rows, and of S2L how the losses of the largest fell. */
export function clusterFigure({ data, num_clusters: all, steps }, signal, onCluster) {
  const sizes = figure(
    `Bar chart: sizes of the ${all} clusters`,
    (colours) => ({
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
    }),
    signal,
    (point) => onCluster(point.customdata[0]),
  );
  const curves =
    steps === null ? null : lossCurves(data.filter(({ losses }) => losses).slice(0, CURVES), steps, signal);
  return h("div.pair", h("div", sizes.element, h("p.hint", told(data, all))), curves);
}

function told(data, all) {
  const small = data.filter(({ rows }) => rows <= 2).length;
  const shown = all > data.length ? ` The ${count(data.length)} largest are drawn.` : "";
  return `${count(all)} clusters, ${count(small)} of them with two rows or fewer.${shown}`;
}

function lossCurves(clusters, steps, signal) {
  const plot = figure(
    "Line chart: mean loss of the largest clusters at each checkpoint",
    (colours) => ({
      data: clusters.map(({ cluster, rows, losses }, index) => ({
        type: "scatter",
        mode: "lines",
        x: steps,
        y: losses,
        hovertemplate: `cluster ${cluster} (${rows} rows): %{y:.3f} at step %{x}<extra></extra>`,
        line: { color: seriesInk(colours, index), width: 1.5 },
      })),
      layout: { hovermode: "closest", xaxis: axis(colours, "Step"), yaxis: axis(colours, "Mean loss, nats") },
    }),
    signal,
  );
  return h(
    "div",
    plot.element,
    h("p.hint", `Mean loss of the ${clusters.length} largest clusters as the proxy learns.`),
  );
}
