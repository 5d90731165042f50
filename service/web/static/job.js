// The page of a fine-tune: how far it is, its loss as it falls, and what it leaves.

import { download, get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { announcer, facts, fill, h, section } from "./dom.js";
import { count, duration, modelName, moment } from "./format.js";
import { STEP, lossFigure } from "./loss.js";
import { debounce } from "./state.js";
import { follow } from "./stream.js";
import { plain } from "./text.js";

const JOBS = "/v1/fine_tuning/jobs";
const ENDS = new Set(["succeeded", "failed", "cancelled"]);

/** Show the job `id` in `main` until the reader leaves. */
export async function showJob(main, [id], { signal, title }) {
  title("Fine-tune");
  const head = h("div.view");
  const heading = jobHeading(act, signal);
  const results = h("div");
  const log = h("ol.log");
  const losses = lossFigure(signal);
  let lastStep = null;

  async function look() {
    const job = await get(`${JOBS}/${id}`, { signal });
    heading.show(job);
    if (head.hasChildNodes()) head.lastElementChild.replaceWith(progress(job));
    else fill(head, heading.element, progress(job));
    if (lastStep) showStep(head, lastStep);
    fill(results, await resultList(job, signal));
  }
  async function act(verb) {
    await post(`${JOBS}/${id}/${verb}`);
    await look();
  }

  // The events of the past arrive at once, and are answered once.
  const refresh = debounce(() => look().catch(() => {}), 150, signal);
  const spoken = announcer();
  fill(
    main,
    head,
    spoken.region,
    section("Loss", losses.element),
    h("div.pair", section("Results", results), section("What happened", log)),
  );
  await look();
  for await (const { data } of follow(`${JOBS}/${id}/events`, { signal })) {
    if (data.type === "metrics") {
      losses.add(data.winnow.type, data.data);
      spoken.say(data.message);
      if (data.winnow.type === STEP) showStep(head, (lastStep = data.data));
      continue;
    }
    log.append(h("li", { class: data.level }, h("time", moment(data.created_at)), " ", data.message));
    if (ENDS.has(data.winnow.type.replace("fine_tune.", ""))) break;
    refresh();
  }
  if (!signal.aborted) await look();
}

/** The heading of a job. It is made once, since a button that is made anew would lose the focus. */
function jobHeading(act, signal) {
  const told = h("p.error", { role: "alert" });
  const button = (text, attributes, deed) =>
    h(
      "button",
      { type: "button", ...attributes, onclick: () => deed().catch((problem) => fill(told, problem.message)) },
      text,
    );
  const pause = button("Pause", {}, () => act("pause"));
  const resume = button("Resume", {}, () => act("resume"));
  const cancel = button("Cancel", { class: "danger" }, async () => {
    const consequence = "It ends for good. Pausing keeps its last checkpoint.";
    if (await confirmed("Cancel this fine-tune?", consequence, "Cancel it", signal)) await act("cancel");
  });
  const name = h("h1", { tabindex: "-1" });
  const status = h("span");
  const about = h("div");
  const element = h("header.page-head", h("div", name, status), h("div.actions", pause, resume, cancel), told, about);

  function show(job) {
    const active = !ENDS.has(job.status);
    const paused = job.status === "paused";
    const focused = document.activeElement;
    fill(name, job.user_provided_suffix ?? "Fine-tune");
    fill(status, job.status.replaceAll("_", " ")).className = `status ${job.status}`;
    pause.hidden = !active || paused;
    resume.hidden = !paused;
    cancel.hidden = !active;
    if (element.contains(focused) && focused.hidden) [pause, resume, name].find((each) => !each.hidden).focus();
    fill(about, jobFacts(job));
  }
  return { element, show };
}

function jobFacts(job) {
  return [
    facts([
      ["Base model", modelName(job.model)],
      ["Trained on", trainedOn(job.training_file)],
      ["Epochs", job.hyperparameters.n_epochs],
      ["Batch size", job.hyperparameters.batch_size],
      ["Learning rate ×", job.hyperparameters.learning_rate_multiplier],
      ["Started", moment(job.created_at)],
      ["Job", h("code", job.id)],
    ]),
    job.error &&
      h(
        "div.failure",
        { role: "alert" },
        h("h2", "The job failed"),
        h("p", job.error.message),
        h("p.hint", h("code", job.error.code)),
      ),
    job.winnow.waits_for && h("p.notice", job.winnow.waits_for),
  ];
}

function trainedOn(name) {
  const subset = /^subset:([A-Za-z0-9_]+)\?(.*)$/.exec(name);
  return subset ? h("a", { href: `#/runs/${subset[1]}?${subset[2]}` }, plain(subset[2])) : plain(name);
}

function progress(job) {
  const { step, total_steps: steps } = job.winnow;
  const bar = h("progress", { "aria-label": "Steps", max: steps ?? 1 });
  if (steps) bar.value = step;
  return h(
    "div.progress",
    { hidden: ENDS.has(job.status) },
    bar,
    h("p.figures", { id: "steps" }, stepText(step, steps, null)),
  );
}

function stepText(step, steps, left) {
  const told = [
    steps ? `step ${count(step)} of ${count(steps)}` : "not begun",
    left !== null && `${duration(left)} left`,
  ];
  return told.filter(Boolean).map((text) => h("span", text));
}

function showStep(head, { step, total_steps: steps, eta_s: left }) {
  const bar = head.querySelector("progress");
  if (!bar || !steps) return;
  bar.max = steps;
  bar.value = step;
  fill(head.querySelector("#steps"), stepText(step, steps, left));
}

async function resultList(job, signal) {
  if (job.status !== "succeeded") return h("p.hint", "There are files once the job has succeeded.");
  const files = await Promise.all(job.result_files.map((id) => get(`/v1/files/${id}`, { signal })));
  const fetchOne = (file) => () => download(`/v1/files/${file.id}/content`, file.filename.split("/").pop());
  return h(
    "div",
    facts([
      ["Model", h("code", job.fine_tuned_model)],
      ["Tokens trained", count(job.trained_tokens)],
    ]),
    h(
      "ul.files",
      files.map((file) => h("li", h("button.quiet", { type: "button", onclick: fetchOne(file) }, file.filename))),
    ),
  );
}
