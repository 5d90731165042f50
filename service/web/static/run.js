// The page of a run: progress while it works, why it failed, and once it is completed everything there is to see.

import { download, get, post, remove } from "./api.js";
import { confirmed } from "./confirm.js";
import { facts, fill, h, section } from "./dom.js";
import { Distribution, FINE_BINS } from "./distribution.js";
import { clusterFigure, lengthFigure } from "./figures.js";
import { METHODS, count, decimal, duration, modelName, moment, percent } from "./format.js";
import { histogramFigure } from "./histogram.js";
import { comparisonPicker } from "./compare.js";
import { outcomePanel } from "./outcome.js";
import { isActive, progressPanel } from "./progress.js";
import { selectionControls } from "./ratio.js";
import { rejectionFolds, rejectionList } from "./rejections.js";
import { rowTable } from "./rows.js";
import { createSelection } from "./selection.js";
import { sourceTable } from "./sources.js";
import { createState, debounce } from "./state.js";
import { takePanel } from "./take.js";
import { plain } from "./text.js";

const SETTLE_MS = 300;

/** Show the run `id` in `main`; `asked` is the selection that the address names. */
export async function showRun(main, [id], { query, signal, title }) {
  const run = await get(`/runs/${id}`, { signal });
  const dataset = await get(`/datasets/${run.dataset}`, { signal }).catch(() => null);
  title(nameOf(run, dataset));
  const body = h("div.view");
  const again = () => showRun(main, [id], { query, signal, title });
  fill(main, heading(run, dataset, signal), body);
  if (isActive(run)) {
    const { element, ended } = progressPanel(run, signal);
    fill(body, element);
    await ended;
    if (!signal.aborted) await again();
  } else if (run.status === "completed" && !run.dry_run) {
    await showCompleted(body, run, query, signal);
  } else {
    await showStopped(body, run, dataset, signal);
  }
}

const nameOf = (run, dataset) => run.name ?? dataset?.name ?? run.id;

function heading(run, dataset, signal) {
  const act = (text, attributes, deed) => {
    const button = h(
      "button",
      { type: "button", ...attributes, onclick: () => deed().catch((problem) => fill(told, problem.message)) },
      text,
    );
    return button;
  };
  const told = h("p.error", { role: "alert" });
  const actions = [
    isActive(run) &&
      act("Cancel", {}, async () => {
        await post(`/runs/${run.id}/cancel`);
      }),
    run.status === "completed" &&
      !run.dry_run &&
      act("Report", { title: "One HTML file to send around" }, () =>
        download(`/runs/${run.id}/report`, `${run.id}.html`),
      ),
    act("Delete", { class: "danger" }, async () => {
      if (!(await confirmed("Delete this run?", "Its scores are purged. The dataset stays.", "Delete", signal))) return;
      await remove(`/runs/${run.id}`);
      location.hash = "#/";
    }),
  ];
  return h(
    "header.page-head",
    h(
      "div",
      h("h1", { tabindex: "-1" }, h("bdi", plain(nameOf(run, dataset), 120))),
      h("span.status", { class: `status ${run.status}` }, run.status),
    ),
    h("div.actions", actions),
    told,
    facts([
      ["Method", METHODS[run.method]],
      ["Model", `${modelName(run.model)}${run.revision ? ` @ ${run.revision.slice(0, 12)}` : ""}`],
      ["Rows", run.counts.rows === null ? null : count(run.counts.rows)],
      ["Rejected", run.status === "completed" ? count(run.counts.rows_rejected) : null],
      ["Started", moment(run.created_at)],
      ["Took", run.finished_at && run.started_at ? duration(run.finished_at - run.started_at) : null],
      ["Run", h("code", run.id)],
    ]),
  );
}

async function showStopped(body, run, dataset, signal) {
  const rejections = dataset && (await get(`/datasets/${dataset.id}/rejections`, { query: { limit: 100 }, signal }));
  fill(
    body,
    run.error &&
      h(
        "div.failure",
        { role: "alert" },
        h("h2", "The run failed"),
        h("p", run.error.message),
        h("p.hint", h("code", run.error.code)),
      ),
    run.status === "cancelled" &&
      h("p.notice", `Cancelled after ${count(run.counts.rows_done)} rows. Start another on the same dataset.`),
    rejections?.data.length > 0 && section("Rejected rows", rejectionList(rejections.data)),
  );
}

async function showCompleted(body, run, query, signal) {
  const [histogram, models, sources, clusters] = await Promise.all([
    get(`/runs/${run.id}/histogram`, { query: { bins: FINE_BINS }, signal }),
    get("/models", { signal }),
    orNone(get(`/runs/${run.id}/sources`, { signal }), signal),
    orNone(get(`/runs/${run.id}/clusters`, { signal }), signal),
  ]);
  const named = sources.data.some(({ source }) => source !== null);
  const selection = createSelection(run, query, signal);
  const keep = debounce((asked) => remember(run, asked), SETTLE_MS, signal);
  selection.asked.subscribe(keep, signal);
  const filter = createState({ cluster: null });
  const rowNames = named ? sources.data.map(({ source }) => source) : [];
  const distribution = new Distribution(histogram, run);
  const traits = { hasClusters: clusters.data.length > 0, hasSources: named };
  const rows = section(
    "Rows",
    rowTable(run, selection, { sources: rowNames, filter: traits.hasClusters ? filter : null }, signal),
  );
  const showCluster = (cluster) => {
    filter.set({ cluster });
    rows.scrollIntoView();
  };
  const [lengths, partners] = await Promise.all([
    orWhy(lengthFigure(run, signal), signal),
    orWhy(comparisonPicker(run, signal), signal),
  ]);
  fill(
    body,
    run.warnings.map((warning) => h("p.notice", warning)),
    h(
      "div.split",
      section(
        "Selection",
        histogramFigure(run, distribution, selection, signal),
        selectionControls(run, selection, traits, signal),
      ),
      section("Subset", outcomePanel(run, selection, signal), takePanel(run, selection, models.data, signal)),
    ),
    rows,
    h(
      "div.pair",
      section("Score and answer length", lengths),
      section("Scores in short", summary(run)),
    ),
    sources.failed && section("Sources", sources.failed),
    named && section("Sources", sourceTable(sources, selection, signal)),
    clusters.failed && section("Clusters", clusters.failed),
    traits.hasClusters && section("Clusters", clusterFigure(clusters, signal, showCluster)),
    section("Rejected rows", rejectionFolds(run, signal)),
    section("Compare with another run", partners),
  );
}

/** A part of the page, or why it can't be had: one that fails takes no other with it. */
function orWhy(part, signal) {
  return part.catch((problem) => {
    if (signal.aborted) throw problem;
    return h("p.error", problem.message);
  });
}

/** A list, or an empty one that holds why it `failed`. */
const orNone = (list, signal) =>
  orWhy(list, signal).then((got) => (got instanceof Element ? { data: [], failed: got } : got));

/** The address keeps the selection, so that it can be sent to a colleague. */
function remember(run, asked) {
  const given = Object.entries(asked).filter(([, value]) => value !== null);
  try {
    history.replaceState(null, "", `#/runs/${run.id}?${new URLSearchParams(given)}`);
  } catch {
    // A browser that has had too many of these refuses one; the next change writes it again.
  }
}

function summary({ summary: of }) {
  const quantiles = Object.entries(of.quantiles).map(([at, score]) =>
    h("tr", h("th", { scope: "row" }, `${at} %`), h("td.number", decimal(score))),
  );
  return h(
    "div.row.top",
    h("table.plain", h("caption.visually-hidden", "Quantiles of the scores"), h("tbody", quantiles)),
    facts([
      ["Scored", count(of.scored)],
      ["Score of 1 or more", of.share_at_least_1 === null ? null : percent(of.share_at_least_1)],
      ["Truncated", percent(of.share_truncated)],
      ["Mean loss given the prompt", decimal(of.mean_loss_conditioned)],
      ["Mean loss of the answer alone", of.tokens_direct ? decimal(of.mean_loss_direct) : null],
      ["Tokens scored", count(of.tokens_conditioned)],
    ]),
  );
}
