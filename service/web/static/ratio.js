// The ratio as a slider in whole percents and as an exact number, and how rows are chosen.

import { choice, field, h } from "./dom.js";
import { count, decimal } from "./format.js";
import { STRATEGIES, keptEnd, ratioOf, strategyOf } from "./selection.js";

/** The controls of `selection`; what a run lacks for a strategy leaves that strategy out. */
export function selectionControls(run, selection, { hasClusters, hasSources }, signal) {
  const { asked, answer } = selection;
  const slider = h("input", {
    type: "range",
    min: 1,
    max: 100,
    step: 1,
    id: "ratio-slider",
    oninput: () => ask(slider),
  });
  const exact = h("input", {
    type: "number",
    min: 0.001,
    max: 100,
    step: "any",
    id: "ratio-exact",
    "aria-label": "Ratio in percent",
    onchange: () => ask(exact),
  });
  const strategy = choice(strategies(run, hasClusters), strategyOf(run, asked.get()), {
    onchange: () => asked.set({ strategy: strategy.value }),
  });
  const per = h("input", {
    type: "checkbox",
    id: "per-source",
    onchange: () => asked.set({ per: per.checked ? "source" : null }),
  });
  per.checked = asked.get().per === "source";

  function ask(control) {
    if (control.validity.valid && control.value !== "") asked.set({ ratio: ratioOf(Number(control.value) / 100) });
  }
  function show() {
    const percents = Number((Number(asked.get().ratio) * 100).toFixed(3));
    if (document.activeElement !== exact || Number(exact.value) !== percents) exact.value = percents;
    slider.value = percents;
    slider.setAttribute("aria-valuetext", inWords(run, asked.get(), answer.get(), percents));
  }
  asked.subscribe(show, signal);
  answer.subscribe(show, signal);
  show();
  return h(
    "div.controls",
    h(
      "div.ratio",
      h("label", { for: "ratio-slider" }, "Keep"),
      slider,
      h("span.exact", exact, h("span", { "aria-hidden": "true" }, "%")),
    ),
    h(
      "div.row",
      field("Choose", strategy),
      hasSources && h("div.check", per, h("label", { for: "per-source" }, "Equal parts from every source")),
    ),
  );
}

function strategies(run, hasClusters) {
  const possible = Object.entries(STRATEGIES).filter(([name]) => {
    if (name.startsWith("cluster_")) return hasClusters;
    return name !== "facility_location" || run.options.embeddings !== null;
  });
  return possible;
}

function inWords(run, asked, { manifest, pending }, percents) {
  const told = [`${percents} percent`];
  if (pending || manifest === null) return told[0];
  told.push(`${count(manifest.rows_selected)} of ${count(manifest.rows_read)} rows`);
  const end = keptEnd(run, asked);
  if (end && manifest.threshold !== null) {
    told.push(`score at ${end === "high" ? "least" : "most"} ${decimal(manifest.threshold)}`);
  }
  return told.join(", ");
}
