// The spread of the scores with the threshold as a line that can be dragged; by keyboard the slider does the same.

import { h } from "./dom.js";
import { count, decimal } from "./format.js";
import { axis, figure, legend } from "./plot.js";
import { keptEnd, ratioOf } from "./selection.js";

const MARGIN = { l: 56, r: 12, t: 26, b: 44 };
const PIXELS_A_BAR = 14;

/** The figure; dragging the line sets the ratio of `selection`, whose answer then puts the line where it belongs. */
export function histogramFigure(run, distribution, selection, signal) {
  const { asked, answer } = selection;
  let dragged = null;
  const end = () => keptEnd(run, asked.get());
  const threshold = () => dragged ?? answer.get().manifest?.threshold ?? null;

  const plot = figure("Histogram of the scores", draw, signal);
  const handle = h("div.handle", { hidden: true }, h("span.grip"), h("output"));
  plot.element.classList.add("tall");
  plot.element.append(handle);

  function draw(colours, width) {
    const bars = distribution.bars(Math.max(12, Math.floor(width / PIXELS_A_BAR)), threshold(), end());
    place(width);
    const trace = (name, ink) => ({
      type: "bar",
      x: bars.map((bar) => (bar.left + bar.right) / 2),
      width: bars.map((bar) => 0.94 * (bar.right - bar.left)),
      y: bars.map((bar) => bar[name]),
      customdata: bars.map((bar) => [decimal(bar.left, 3), decimal(bar.right, 3)]),
      hovertemplate: "%{customdata[0]} to %{customdata[1]}: %{y:,.0f} rows<extra></extra>",
      marker: { color: colours[ink] },
    });
    return {
      data: [trace("kept", "accent"), trace("dropped", "rest"), trace("misleading", "warn")],
      layout: {
        barmode: "stack",
        height: width > 640 ? 360 : 260,
        margin: MARGIN,
        xaxis: axis(colours, "Score", { range: [distribution.low, distribution.high], showgrid: false }),
        yaxis: axis(colours, "Rows", { rangemode: "tozero", tickformat: "~s", nticks: 6 }),
      },
    };
  }

  const toPixels = (score, width) => {
    const part = (score - distribution.low) / (distribution.high - distribution.low || 1);
    return MARGIN.l + Math.min(1, Math.max(0, part)) * (width - MARGIN.l - MARGIN.r);
  };
  const toScore = (pixels, width) => {
    const part = (pixels - MARGIN.l) / (width - MARGIN.l - MARGIN.r);
    return distribution.low + Math.min(1, Math.max(0, part)) * (distribution.high - distribution.low);
  };

  function place(width) {
    const at = threshold();
    handle.hidden = at === null || end() === null;
    if (handle.hidden) return;
    const pixels = toPixels(at, width);
    handle.style.left = `${pixels}px`;
    handle.classList.toggle("flipped", pixels > width - 110);
    handle.querySelector("output").textContent = `${end() === "high" ? "≥" : "≤"} ${decimal(at)}`;
  }

  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("dragging");
    event.preventDefault();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = plot.element.getBoundingClientRect();
    dragged = toScore(event.clientX - box.left, box.width);
    asked.set({ ratio: ratioOf(roundedShare(distribution.share(dragged, end()))) });
    plot.redraw();
  });
  handle.addEventListener("lostpointercapture", () => {
    handle.classList.remove("dragging");
    if (!answer.get().pending) settle();
  });

  function settle() {
    if (handle.classList.contains("dragging")) return;
    dragged = null;
    plot.redraw();
  }
  answer.subscribe(({ pending }) => pending || settle(), signal);

  const names = [
    ["accent", "kept"],
    ["rest", "left out"],
  ];
  if (distribution.limit < distribution.high) names.push(["warn", "1 or more: the prompt does not help"]);
  const key = legend(names);
  const showKey = () => (key.hidden = end() === null);
  asked.subscribe(showKey, signal);
  showKey();
  return h("div", plot.element, h("div.under", key, outside(distribution)));
}

/** A share with as many digits as a hand can place. */
const roundedShare = (share) => Math.max(0.001, Math.round(share * 1000) / 1000);

function outside({ above, below, high, low }) {
  if (!above && !below) return null;
  const told = [
    below && `${count(below)} rows lie below ${decimal(low, 3)}`,
    above && `${count(above)} rows lie above ${decimal(high, 3)}`,
  ];
  return h("p.hint", `${told.filter(Boolean).join(", ")}; they are not drawn.`);
}
