// The rows without a score: how many for which reason, and each with its line and what to change.

import { get } from "./api.js";
import { fill, h, scroller } from "./dom.js";
import { count, words } from "./format.js";
import { hostile } from "./text.js";

const PAGE = 50;

/** A fold for every reason, which fetches its rows when it is opened. */
export function rejectionFolds(run, signal) {
  const reasons = Object.entries(run.summary.rejected_by_reason).sort(([, a], [, b]) => b - a);
  if (!reasons.length) return h("p.hint", "No row was rejected.");
  return h(
    "div",
    reasons.map(([reason, rows]) => reasonFold(run, reason, rows, signal)),
  );
}

function reasonFold(run, reason, rows, signal) {
  const list = h("ol.rejections");
  const status = h("p.hint", { role: "status" });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: load }, "Show more");
  let after = null;
  async function load() {
    try {
      const query = { status: "rejected", reason, sort: "row", order: "asc", limit: PAGE, after };
      const page = await get(`/runs/${run.id}/rows`, { query, signal });
      list.append(...page.data.map(rejection));
      after = page.next;
      more.hidden = after === null;
      fill(status, `${count(list.children.length)} of ${count(page.total)} shown`);
    } catch (problem) {
      if (!signal.aborted) fill(status, problem.message);
    }
  }
  const fold = h(
    "details.fold",
    h("summary", words(reason), " ", h("span.count", count(rows))),
    list,
    h("div.pager", status, more),
  );
  fold.addEventListener("toggle", load, { once: true });
  return fold;
}

const rejection = ({ row, detail }) => h("li", h("span.row-number", `row ${count(row)}`), hostile(detail ?? ""));

/** What reading a dataset rejected, where no run has a summary: one that failed, or a preview. */
export function rejectionList(rejections) {
  const line = ({ row, reason, detail }) =>
    h("tr", h("td.number", count(row)), h("td", words(reason)), h("td", hostile(detail)));
  return scroller(
    "Rejected rows",
    h(
      "table.data",
      h("caption.visually-hidden", "Rejected rows"),
      h(
        "thead",
        h(
          "tr",
          h("th.number", { scope: "col" }, "Row"),
          h("th", { scope: "col" }, "Reason"),
          h("th", { scope: "col" }, "What to change"),
        ),
      ),
      h("tbody", rejections.map(line)),
    ),
  );
}
