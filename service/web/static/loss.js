// The loss of a fine-tune as it falls.

import { h } from "./dom.js";
import { count, decimal } from "./format.js";
import { axis, figure, legend } from "./plot.js";

export const STEP = "fine_tune.step";
const EVALUATED = "fine_tune.eval";
const FEW_STEPS = 10;

/** The loss of training as a line, that of validation as points; grows with each `add`. */
export function lossFigure(signal) {
  const series = { [STEP]: { x: [], y: [] }, [EVALUATED]: { x: [], y: [] } };
  const latest = h("p.hint");
  const names = legend([
    ["accent", "training"],
    ["second", "validation"],
  ]);
  names.hidden = true;
  let due = 0;
  const plot = figure(
    "Line chart: training loss by step",
    (colours) => ({
      data: [
        { type: "scatter", mode: "lines", ...series[STEP], line: { color: colours.accent, width: 1.5 } },
        { type: "scatter", mode: "markers", ...series[EVALUATED], marker: { color: colours.second, size: 7 } },
      ].map((trace) => ({
        ...trace,
        x: [...trace.x],
        y: [...trace.y],
        hovertemplate: "step %{x}: %{y:.4f}<extra></extra>",
      })),
      layout: {
        xaxis: axis(colours, "Step", { rangemode: "tozero", dtick: series[STEP].x.at(-1) < FEW_STEPS ? 1 : null }),
        yaxis: axis(colours, "Loss, nats per token"),
      },
    }),
    signal,
  );
  function add(type, { step, loss }) {
    series[type].x.push(step);
    series[type].y.push(loss);
    names.hidden = !series[EVALUATED].x.length;
    latest.textContent = `Step ${count(step)}: ${type === EVALUATED ? "validation" : "training"} loss ${decimal(loss)}`;
    // A history of hundreds of events arrives at once, and is drawn once.
    cancelAnimationFrame(due);
    due = requestAnimationFrame(plot.redraw);
  }
  return { element: h("div", plot.element, h("div.under", names, latest)), add };
}
