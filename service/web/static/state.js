// One value that several parts of a page show and change.

/** `set` merges a patch and tells the listeners, unless nothing changes; a listener goes with its signal. */
export function createState(initial) {
  let value = Object.freeze({ ...initial });
  const listeners = new Set();
  return {
    get: () => value,
    set(patch) {
      const changed = Object.keys(patch).some((key) => !Object.is(value[key], patch[key]));
      if (!changed) return;
      value = Object.freeze({ ...value, ...patch });
      for (const listener of [...listeners]) listener(value);
    },
    subscribe(listener, signal) {
      listeners.add(listener);
      signal.addEventListener("abort", () => listeners.delete(listener));
    },
  };
}

/** Calls `act` once it has not been asked to for `pauseMs`; an abort forgets it. */
export function debounce(act, pauseMs, signal) {
  let timer = 0;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => signal.aborted || act(...given), pauseMs);
  };
}
