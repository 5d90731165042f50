// A run while it works: how far it is, how fast, how long still, and what happened so far.

import { get } from "./api.js";
import { announcer, fill, h } from "./dom.js";
import { count, decimal, duration, moment } from "./format.js";
import { follow } from "./stream.js";

const STAGES = {
  queued: "Waiting",
  ingesting: "Reading the dataset",
  training: "Training the proxy",
  scoring: "Scoring",
  finalizing: "Writing the scores down",
};
const ENDS = new Set(["run.completed", "run.failed", "run.cancelled"]);

export const isActive = (run) => run.status in STAGES;

/** Show a run until it ends; `element` is there at once, `ended` resolves when it has. */
export function progressPanel(run, signal) {
  const stage = h("h2");
  const bar = h("progress", { "aria-label": "Rows done" });
  const figures = h("p.figures");
  const waits = h("p.notice", { hidden: true });
  const training = h("div");
  const log = h("ol.log");
  const spoken = announcer();
  const element = h(
    "section.panel.progress",
    stage,
    bar,
    figures,
    waits,
    training,
    h("details.fold", h("summary", "What happened so far"), log),
    spoken.region,
  );
  let now = run;

  function show(patch) {
    now = { ...now, ...patch };
    const { rows, rows_done: done, rows_cached: cached } = now.counts;
    fill(stage, STAGES[now.status] ?? now.status);
    bar.hidden = figures.hidden = now.status === "training";
    if (rows === null) {
      bar.removeAttribute("value");
    } else {
      bar.max = rows;
      bar.value = done;
    }
    const told = [
      rows === null ? null : `${count(done)} of ${count(rows)} rows`,
      now.rows_per_s && `${count(Math.round(now.rows_per_s))} rows/s`,
      now.eta_s !== null && `${duration(now.eta_s)} left`,
      cached > 0 && `${count(cached)} known from earlier runs`,
    ].filter(Boolean);
    fill(
      figures,
      told.map((text) => h("span", text)),
    );
    waits.hidden = !now.waits_for;
    fill(waits, now.waits_for);
    spoken.say(`${STAGES[now.status] ?? now.status}: ${told.join(", ")}`);
  }

  /** What a run waits for is not part of its events. */
  async function look() {
    show(await get(`/runs/${run.id}`, { signal }));
    if (now.trajectory && now.status === "training" && !training.hasChildNodes()) {
      followTraining(now.trajectory, training, signal).catch((problem) =>
        fill(training, h("p.error", problem.message)),
      );
    }
  }

  async function watch() {
    show({});
    await look();
    for await (const { event, data } of follow(`/runs/${run.id}/events`, { signal })) {
      if (event === "progress") {
        show(data);
        continue;
      }
      log.append(h("li", h("time", moment(data.created_at)), " ", data.message));
      if (ENDS.has(data.type)) return;
      await look();
    }
  }
  return { element, ended: watch() };
}

/** The training under a run: its steps, its loss and the checkpoints that were read, until its events end. */
async function followTraining(trajectory, place, signal) {
  const bar = h("progress", { "aria-label": "Training steps" });
  const told = h("p.figures");
  fill(place, bar, told);
  let loss = null;
  for await (const { event, data } of follow(`/trajectories/${trajectory}/events`, { signal })) {
    if (event === "trajectory.step") loss = data.data.loss;
    if (event !== "progress" || !data.training) continue;
    const { step, total_steps: steps } = data.training;
    if (steps) {
      bar.max = steps;
      bar.value = step;
    }
    const parts = [
      steps && `step ${count(step)} of ${count(steps)}`,
      loss !== null && `loss ${decimal(loss, 3)}`,
      data.counts.checkpoints && `${data.counts.checkpoints_done} of ${data.counts.checkpoints} checkpoints read`,
    ];
    fill(
      told,
      parts.filter(Boolean).map((text) => h("span", text)),
    );
  }
}
