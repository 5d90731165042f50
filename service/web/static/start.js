// Where everything begins: a file is dropped, looked at and scored; earlier runs and fine-tunes are listed below.

import { get, upload } from "./api.js";
import { fill, h, section } from "./dom.js";
import { bytes, percent } from "./format.js";
import { datasetList, jobList, runList } from "./lists.js";
import { previewPanel } from "./preview.js";
import { plain } from "./text.js";

/** Show the first page in `main`; `query.dataset` names a dataset to score again. */
export async function showStart(main, _, { query, signal, title }) {
  title("Score a dataset");
  const models = (await get("/models", { signal })).data;
  const panel = h("div");
  const lists = h("div.view");
  fill(
    main,
    h("header.page-head", h("h1", { tabindex: "-1" }, "Score a dataset")),
    dropZone((file) => take(file), signal),
    panel,
    await fillLists(),
  );
  let current = new AbortController();
  if (query.dataset) preview(await get(`/datasets/${query.dataset}`, { signal }), false);

  function preview(dataset, isNew) {
    current.abort();
    current = new AbortController();
    const own = AbortSignal.any([signal, current.signal]);
    fill(panel, previewPanel(dataset, models, isNew, own, onClosed));
  }

  async function fillLists() {
    const lines = await Promise.all([runList(signal), jobList(signal), datasetList(signal, onDeleted)]);
    return fill(lists, section("Runs", lines[0]), section("Fine-tunes", lines[1]), section("Datasets", lines[2]));
  }
  async function onDeleted() {
    await fillLists();
    main.querySelector("h1").focus();
  }
  function onClosed() {
    history.replaceState(null, "", "#/"); // so that the dataset that it named can be asked for again
    return onDeleted();
  }

  async function take(file) {
    current.abort();
    current = new AbortController();
    const own = AbortSignal.any([signal, current.signal]);
    const { element, onProgress } = sending(file);
    fill(panel, element);
    try {
      const { status, body } = await upload("/datasets", file, { onProgress, signal: own });
      // 200: these bytes were here before, and may be what runs rest on.
      preview(body, status === 202);
    } catch (problem) {
      if (own.aborted) return;
      fill(
        panel,
        h("div.failure", { role: "alert" }, h("h2", `${plain(file.name)} was not accepted`), h("p", problem.message)),
      );
    }
  }
}

/** A place to drop a file on, and to choose one by keyboard; a drop anywhere on the page counts. */
function dropZone(onFile, signal) {
  const input = h("input.visually-hidden", {
    type: "file",
    id: "file",
    onchange: () => input.files[0] && pick(input.files[0]),
  });
  const zone = h(
    "div.drop",
    input,
    h("label", { for: "file" }, h("strong", "Drop a file here, or choose one")),
    h(
      "p.hint",
      "JSON Lines, JSON, CSV, TSV or Parquet, gzip or zstd of these: instruction and answer, prompt and completion, or chat messages.",
    ),
  );
  function pick(file) {
    onFile(file);
    input.value = ""; // so that the same file can be chosen again
  }
  const on = (type, act) => window.addEventListener(type, act, { signal });
  on("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  on("dragleave", (event) => event.relatedTarget === null && zone.classList.remove("over"));
  on("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) pick(event.dataTransfer.files[0]);
  });
  return zone;
}

function sending(file) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const told = h("p.figures", { role: "status" }, `Sending ${plain(file.name)}, ${bytes(file.size)}`);
  const onProgress = (share) => {
    bar.value = share;
    fill(told, h("span", plain(file.name)), h("span", `${percent(share, 0)} of ${bytes(file.size)}`));
  };
  return { element: h("section.panel.progress", bar, told), onProgress };
}
