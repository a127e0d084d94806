/** What something was over the last minutes. Pure; times are in milliseconds of any clock that only moves on. */

/** Steps without a sample that end a run: drawing may skip one now and then. */
const GAP_STEPS = 5;

/**
 * Samples `{ at, value }`, at most one for each step of time, for as long as `spanMs`.
 *
 * Nothing is recorded while a book is not known to be current, so what is drawn from this ends where the data ended.
 */
export class History {
  #samples = [];
  #subject = null;

  constructor(spanMs, stepMs) {
    this.spanMs = spanMs;
    this.stepMs = stepMs;
  }

  /** The samples, oldest first; only to be read. */
  get samples() {
    return this.#samples;
  }

  /** The samples in runs without a gap. */
  get runs() {
    const runs = [];
    let last = -Infinity;
    for (const sample of this.#samples) {
      if (sample.at - last > GAP_STEPS * this.stepMs) runs.push([]);
      runs.at(-1).push(sample);
      last = sample.at;
    }
    return runs;
  }

  reset() {
    this.#samples = [];
  }

  /** Say what is recorded from now on; samples of anything else are forgotten. */
  begin(subject) {
    if (subject !== this.#subject) this.reset();
    this.#subject = subject;
  }

  /** Whether `now` is in a step that has no sample yet. */
  isDue(now) {
    const last = this.#samples.at(-1);
    return !last || Math.floor(now / this.stepMs) > Math.floor(last.at / this.stepMs);
  }

  record(now, value) {
    if (!this.isDue(now)) return;
    this.#samples.push({ at: now, value });
    this.forget(now);
  }

  /** Forget what is too old at `now`. */
  forget(now) {
    const kept = this.#samples.findIndex(({ at }) => at >= now - this.spanMs);
    this.#samples.splice(0, kept < 0 ? this.#samples.length : kept);
  }

  /** Forget what was recorded after `at`, because it was taken for current and was not. */
  cut(at) {
    while (this.#samples.length && this.#samples.at(-1).at > at) this.#samples.pop();
  }
}

/** Twice the mid price in ticks, an integer: no rounding. Null if a side is empty. */
export function twiceMid({ bids, asks }) {
  return bids.length && asks.length ? bids[0][0] + asks[0][0] : null;
}
