// Plotly, fetched when the first figure is drawn, in the colours of the page. Its WebGL traces are not used: they
// compile code from text, which the page's security policy forbids.

import { h } from "./dom.js";

const INKS = ["ink", "muted", "line", "panel", "accent", "rest", "warn", "bad", "good", "second"];
const SERIES = ["accent", "second", "good", "warn", "bad", "muted"];

/** Plotly inserts the styles of its maps unless an element bears this id. The policy forbids it, and no map is drawn. */
const MAP_STYLES = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

let loading = null;

/** The library, loaded once. */
function plotly() {
  if (loading === null) {
    document.head.append(h("meta", { id: MAP_STYLES }));
    loading = import("/assets/plotly.min.js").then(() => window.Plotly);
  }
  return loading;
}

/** The colours of the theme that is shown now, by name. */
export function inks() {
  const probe = h("span");
  document.body.append(probe);
  const found = {};
  for (const name of INKS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** A colour for the series number `index`. */
export const seriesInk = (colours, index) => colours[SERIES[index % SERIES.length]];

/**
 * A figure that redraws with the theme and its size. `draw(colours, width)` gives Plotly's data and layout, `label`
 * says what is to be seen, `onPoint` hears of a click on a point. Returns the element and `redraw`.
 */
export function figure(label, draw, signal, onPoint = null) {
  const canvas = h("div.canvas");
  const element = h("div.plot", { role: "img", "aria-label": label }, canvas);
  let library = null;
  let width = 0;
  let listening = false;

  function redraw() {
    if (library === null || signal.aborted || !element.isConnected) return;
    const colours = inks();
    const { data, layout } = draw(colours, element.clientWidth);
    library.react(canvas, data, { ...plain(colours), ...layout, width: element.clientWidth }, CONFIG);
    if (onPoint && !listening) {
      listening = true;
      canvas.on("plotly_click", ({ points }) => onPoint(points[0]));
    }
  }
  const resized = new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    redraw();
  });
  plotly().then(
    (loaded) => {
      if (signal.aborted) return;
      library = loaded;
      resized.observe(element);
      redraw();
    },
    () => canvas.replaceChildren(h("p.error", "The figure could not be loaded. Reload the page.")),
  );

  window.addEventListener("winnow-theme", redraw, { signal });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
  signal.addEventListener("abort", () => {
    resized.disconnect();
    library?.purge(canvas);
  });
  return { element, redraw };
}

const CONFIG = { displayModeBar: false, doubleClick: false, scrollZoom: false, showTips: false };

function plain(colours) {
  return {
    height: 260,
    margin: { l: 56, r: 12, t: 8, b: 44 },
    font: { family: "system-ui, sans-serif", size: 12, color: colours.muted },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.line, font: { color: colours.ink } },
    dragmode: false,
    showlegend: false,
  };
}

/** An axis of the page's style; `options` are Plotly's. */
export function axis(colours, title, options = {}) {
  return {
    title: { text: title, standoff: 10 },
    gridcolor: colours.line,
    linecolor: colours.line,
    zeroline: false,
    fixedrange: true,
    ticks: "outside",
    tickcolor: colours.line,
    ...options,
  };
}

/** What a series is called, beside its colour: Plotly's own legend can't wrap. */
export function legend(entries) {
  return h(
    "ul.legend",
    entries.map(([name, text]) => h(`li.swatch-${name}`, text)),
  );
}
