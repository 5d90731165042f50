// What is selected from a run: the request, the server's answer to it (the manifest), and what they mean in words.

import { Problem, get, pause } from "./api.js";
import { createState, debounce } from "./state.js";

const DEFAULT_STRATEGY = { ifd: "top", learning_percentage: "cluster_bottom", s2l: "cluster_balanced" };
const SETTLE_MS = 150;
const DEFAULTS = { ratio: "0.1", strategy: null, per: null, order: null };
const ORDERS = ["original", "score"];

export const STRATEGIES = {
  top: "Highest scores",
  bottom: "Lowest scores",
  cluster_bottom: "Lowest of every cluster",
  cluster_balanced: "Equally many of every cluster",
  facility_location: "Representatives of the best",
  random: "Random (the baseline)",
};

export const RULES = {
  rejected: "Rejected: no score",
  score_at_least_1: "Score of 1 or more: prompt and answer do not fit",
  unlearned: "Not learned by the proxy",
  min_score: "Below the lowest score asked for",
  max_score: "Above the highest score asked for",
  no_cluster: "In no cluster",
  no_embedding: "Without an embedding",
  beyond_k: "Beyond the ratio",
};

/** The strategy that counts: the one that was chosen, or the method's own. */
export const strategyOf = (run, asked) => asked.strategy ?? DEFAULT_STRATEGY[run.method];

/** Whether a threshold divides the rows, and which end is kept: "high", "low" or null. Each source has one of its own. */
export function keptEnd(run, asked) {
  if (asked.per !== null) return null;
  return { top: "high", bottom: "low" }[strategyOf(run, asked)] ?? null;
}

/** The options that choose rows, as the API names them. */
export function query(run, asked) {
  return { run: run.id, ratio: asked.ratio, strategy: asked.strategy, per: asked.per, order: asked.order };
}

/** What `training_file` of a fine-tune says. The order of the rows is training's own affair. */
export function reference(run, asked) {
  const { run: id, order: _, ...options } = query(run, asked);
  const given = Object.entries(options).filter(([, value]) => value !== null);
  return `subset:${id}?${new URLSearchParams(given)}`;
}

/** A share as the API takes it: exact, at most five decimals, within what is allowed. */
export function ratioOf(share) {
  const bounded = Math.min(1, Math.max(0.00001, share));
  return String(Number(bounded.toFixed(5)));
}

/** What an address may say; it is written by whoever sent it, and ends in commands that are copied and run. */
const ALLOWED = {
  ratio: (value) => /^\d*\.?\d+$/.test(value),
  strategy: (value) => Object.hasOwn(STRATEGIES, value),
  per: (value) => value === "source",
  order: (value) => ORDERS.includes(value),
};

/** The request that an address asks for; what it may not say is left at its default. */
function asAsked(initial) {
  const given = Object.entries(DEFAULTS).map(([name, value]) => {
    const allowed = initial[name] !== undefined && ALLOWED[name](initial[name]);
    return [name, allowed ? initial[name] : value];
  });
  return Object.fromEntries(given);
}

/**
 * The request as a state, begun with what `initial` has of it, and what answers it as another:
 * {manifest, problem, pending, waiting}. A request that changes drops the answer that is under way; one that needs
 * heavy work is asked again until it is done.
 */
export function createSelection(run, initial, signal) {
  const asked = createState(asAsked(initial));
  const answer = createState({ manifest: null, problem: null, pending: true, waiting: null });
  let underWay = new AbortController();

  async function load() {
    underWay = new AbortController();
    const own = AbortSignal.any([signal, underWay.signal]);
    try {
      const manifest = await manifestOf(run, asked.get(), own, (waiting) => answer.set({ waiting }));
      answer.set({ manifest, problem: null, pending: false, waiting: null });
    } catch (problem) {
      if (!own.aborted) answer.set({ manifest: null, problem, pending: false, waiting: null });
    }
  }
  const settle = debounce(load, SETTLE_MS, signal);
  asked.subscribe(() => {
    underWay.abort();
    answer.set({ pending: true });
    settle();
  }, signal);
  load();
  return { asked, answer };
}

async function manifestOf(run, asked, signal, onWaiting) {
  for (;;) {
    try {
      return await get("/subsets/manifest", { query: query(run, asked), signal });
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.code !== "selection_not_ready") throw problem;
      onWaiting(problem.message);
      await pause(1500, signal);
    }
  }
}
