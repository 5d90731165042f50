// The spread of the scores, in bins fine enough to tell from any score how many rows lie on either side of it.

export const FINE_BINS = 1000;
const MISLEADING = 1;

/** `histogram` is the API's answer in `FINE_BINS` bins; `run` decides what a score of 1 means. */
export class Distribution {
  constructor(histogram, run) {
    this.edges = histogram.edges;
    this.counts = histogram.counts;
    this.below = histogram.below;
    this.above = histogram.above;
    this.rows = histogram.scored + histogram.rejected;
    this.scored = histogram.scored;
    this.limit = run.method === "ifd" ? MISLEADING : Infinity;
  }

  get low() {
    return this.edges[0];
  }

  get high() {
    return this.edges.at(-1);
  }

  /** About how large a part of all rows a threshold keeps; `end` is the end that is kept. */
  share(threshold, end) {
    if (end === "low") return (this.below + this._between(this.low, threshold)) / this.rows;
    const beyond = this.limit > this.high ? this.above : 0;
    return (this._between(threshold, Math.min(this.high, this.limit)) + beyond) / this.rows;
  }

  /**
   * The bars of a figure, at most `most` of them: {left, right} and how many rows a threshold keeps, drops, or would
   * keep if they did not mislead. Without a threshold all count as dropped.
   */
  bars(most, threshold, end) {
    const group = Math.ceil(this.counts.length / most);
    const bars = [];
    for (let from = 0; from < this.counts.length; from += group) {
      const to = Math.min(from + group, this.counts.length);
      const [left, right] = [this.edges[from], this.edges[to]];
      bars.push({ left, right, ...this._divide(left, right, threshold, end) });
    }
    return bars;
  }

  _divide(left, right, threshold, end) {
    const all = this._between(left, right);
    if (end === null || threshold === null) return { kept: 0, dropped: all, misleading: 0 };
    if (end === "low") {
      const kept = this._between(left, Math.min(right, threshold));
      return { kept, dropped: all - kept, misleading: 0 };
    }
    const misleading = this._between(Math.max(left, this.limit), right);
    const kept = this._between(Math.max(left, threshold), Math.min(right, this.limit));
    return { kept, dropped: all - kept - misleading, misleading };
  }

  /** Rows from one score to another, those of a bin spread evenly over it. */
  _between(from, to) {
    if (to <= from) return 0;
    const step = (this.high - this.low) / this.counts.length;
    if (step <= 0) return from <= this.low && this.low <= to ? this.scored : 0;
    const [first, last] = [(from - this.low) / step, (to - this.low) / step];
    let sum = 0;
    for (let bin = Math.max(0, Math.floor(first)); bin < Math.min(this.counts.length, last); bin++) {
      const part = Math.min(bin + 1, last) - Math.max(bin, first);
      sum += this.counts[bin] * part;
    }
    return sum;
  }
}
