// The rows of a run as a table that the server sorts, searches and pages: only what is shown is here.

import { get } from "./api.js";
import { choice, field, fill, h, scroller } from "./dom.js";
import { count, words } from "./format.js";
import { openRecord } from "./record.js";
import { columnsOf, rowLine } from "./row.js";
import { keptEnd } from "./selection.js";
import { debounce } from "./state.js";
import { plain } from "./text.js";

const PAGE = 25;
const EITHER_SIDE = 12;
const TYPING_MS = 250;
const FLAGS = ["truncated", "blank_answer", "unlearned", "turns_dropped"];
const VIEWS = [
  ["threshold", "Either side of the threshold"],
  ["all", "All rows"],
  ["rejected", "Rejected rows"],
];

/**
 * The table under a selection: either side of its threshold, or any other part of the run. `sources` are there to choose
 * from; `filter` is a state {cluster}, null if the run has none, that other figures set.
 */
export function rowTable(run, { asked: selected, answer }, { sources, filter }, signal) {
  const asked = { sort: "score", order: "desc", place: {} };
  let page = { data: [], previous: null, next: null, total: 0, searched: null };
  let underWay = new AbortController();

  const view = choice(VIEWS, keptEnd(run, selected.get()) ? "threshold" : "all", { onchange: reset });
  const search = h("input", {
    type: "search",
    maxlength: 200,
    placeholder: "Text of prompt or answer",
    oninput: debounce(reset, TYPING_MS, signal),
  });
  const source = choice(
    [["", "All"], ...sources.map((name, index) => [index, name === null ? "(none)" : plain(name)])],
    "",
    { onchange: reset },
  );
  const cluster = h("input", {
    type: "number",
    min: 0,
    step: 1,
    oninput: () => {
      if (cluster.validity.valid) filter.set({ cluster: cluster.value === "" ? null : Number(cluster.value) });
    },
  });
  const flag = choice([["", "Any"], ...FLAGS.map((name) => [name, words(name)])], "", { onchange: reset });
  const table = recordTable(columnsOf(run.method), { withSource: sources.length > 0, onSort: sortBy });
  const status = h("p.hint", { role: "status" });
  const further = h("button.quiet", { type: "button", hidden: true, onclick: searchOn }, "Search further rows");
  const previous = h("button", { type: "button", onclick: () => turnPage({ before: page.previous }) }, "Previous");
  const next = h("button", { type: "button", onclick: () => turnPage({ after: page.next }) }, "Next");

  function reset() {
    if (view.value === "threshold") Object.assign(asked, { sort: "score", order: "desc" });
    turn({});
  }
  function sortBy(name) {
    asked.order = asked.sort === name && asked.order === "desc" ? "asc" : "desc";
    asked.sort = name;
    if (view.value === "threshold") view.value = "all";
    turn({});
  }
  function searchOn() {
    turn({ first_row: (asked.place.first_row ?? 0) + page.searched });
  }
  function turnPage(place) {
    turn({ first_row: asked.place.first_row, ...place });
  }
  function turn(place) {
    asked.place = place;
    load();
  }

  const aroundThreshold = () => view.value === "threshold" && !Object.keys(asked.place).length;

  function options() {
    return {
      sort: asked.sort,
      order: asked.order,
      limit: view.value === "threshold" ? EITHER_SIDE : PAGE,
      status: { threshold: "scored", all: null, rejected: "rejected" }[view.value],
      near: aroundThreshold() ? (answer.get().manifest?.threshold ?? null) : null,
      q: search.value || null,
      flag: flag.value || null,
      cluster: filter?.get().cluster ?? null,
      source: source.value === "" ? null : (sources[source.value] ?? ""),
      ...asked.place,
    };
  }
  async function load() {
    underWay.abort();
    underWay = new AbortController();
    const own = AbortSignal.any([signal, underWay.signal]);
    table.body.setAttribute("aria-busy", "true");
    try {
      page = await get(`/runs/${run.id}/rows`, { query: options(), signal: own });
      show();
    } catch (problem) {
      if (!own.aborted) fill(status, problem.message);
    }
  }
  function show() {
    table.body.removeAttribute("aria-busy");
    table.showSort(asked.sort, asked.order);
    const { manifest } = answer.get();
    const open = (row) => () => openRecord(run, row.row, signal);
    fill(
      table.body,
      page.data.map((row) => table.line(row, { manifest, open: open(row) })),
    );
    previous.disabled = page.previous === null;
    next.disabled = page.next === null;
    const looked = (asked.place.first_row ?? 0) + (page.searched ?? 0);
    further.hidden = page.searched === null || looked >= run.counts.rows;
    const found = `${count(page.total)} row${page.total === 1 ? "" : "s"}`;
    fill(status, page.searched === null ? found : `${found} among the ${count(page.searched)} that were searched`);
  }

  answer.subscribe(({ pending }) => {
    if (pending) return;
    if (aroundThreshold()) load();
    else show();
  }, signal);
  filter?.subscribe(({ cluster: chosen }) => {
    if (document.activeElement !== cluster) cluster.value = chosen ?? "";
    if (chosen !== null) view.value = "all";
    reset();
  }, signal);
  if (!answer.get().pending || view.value !== "threshold") load();

  const filters = [
    field("Show", view),
    field("Search", search),
    sources.length > 0 && field("Source", source),
    field("Flag", flag),
    filter !== null && field("Cluster", cluster),
  ];
  return h(
    "div.rows",
    h("div.row.filters", filters),
    scroller("Rows of the run", table.element),
    h("div.pager", status, further, h("div.actions", previous, next)),
  );
}

/** The table itself; headings of numbers sort. */
function recordTable(columns, { withSource, onSort }) {
  const heads = columns.map(({ name, title, hint }) =>
    h(
      "th.number",
      { scope: "col", "data-name": name },
      h("button.sort", { type: "button", title: hint, onclick: () => onSort(name) }, title),
    ),
  );
  const body = h("tbody");
  const rest = [
    h("th", { scope: "col" }, "Flags"),
    withSource && h("th", { scope: "col" }, "Source"),
    h("th.record", { scope: "col" }, "Prompt and answer"),
  ];
  const element = h(
    "table.data.records",
    h("caption.visually-hidden", "Rows of the run. The headings of numbers sort it."),
    h("thead", h("tr", heads, rest)),
    body,
  );
  function showSort(sort, order) {
    for (const head of heads) {
      if (head.dataset.name === sort) head.setAttribute("aria-sort", order === "desc" ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }
  return { element, body, showSort, line: (row, given) => rowLine(row, { columns, withSource, ...given }) };
}
