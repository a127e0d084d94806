import { Book } from "./book.js";
import { isCount } from "./messages.js";
import { Parts } from "./parts.js";
import { topOf } from "./top.js";

/** The progress of a symbol's subscription. */
export const Phase = Object.freeze({
  ASKED: "asked", // a subscribe was sent; messages still belong to an older subscription
  WAITING: "waiting", // subscribed, and a snapshot must come next
  FOLLOWING: "following", // the view is continuous
  ENDED: "ended", // the subscription is over
});

/**
 * One subscribed symbol: its book, and whether it is current. The sizes are decimal text, known once subscribed; those
 * of a new listing come with its snapshot.
 */
export class View {
  #tops = new Map();

  constructor(symbol, options) {
    this.symbol = symbol;
    this.options = options; // of the subscription that was asked for last, as `subscriptionOf` makes them
    this.book = new Book();
    this.held = null; // the options under which the book came
    this.phase = Phase.ASKED;
    this.asked = 0;
    this.wild = false; // whether it belongs to the subscription to "*"
    this.offered = false; // whether the subscribe that is not answered yet offers to resume it
    this.stale = false;
    this.staleReason = null; // why a producer calls the book stale, null while none does
    this.inputAgeMs = null; // age of the last input if the book is stale for that, null otherwise
    this.resyncs = 0;
    this.parts = new Parts(); // of the snapshot that is on its way
    this.tickSize = this.lotSize = "1";
    this.sizes = null; // as the last `subscribed` gave them: [tick, lot]
  }

  get depth() {
    return this.options.depth;
  }

  /** Ticks in a level of the book. */
  get group() {
    return (this.held ?? this.options).group;
  }

  get intervalMs() {
    return this.options.intervalMs;
  }

  get orders() {
    return this.options.orders;
  }

  /** A snapshot has begun the book of the last `subscribed`. */
  takeOver() {
    this.held = this.options;
    this.takeSizes();
  }

  /** The book is that of the last `subscribed` from now on, and so are the sizes. */
  takeSizes() {
    [this.tickSize, this.lotSize] = this.sizes;
  }

  /** The gateway says whether its source is live, by a `status`; without one it is. */
  takeStatus({ state, reason, input_age_ms: inputAgeMs } = { state: "live" }) {
    this.stale = state !== "live";
    this.staleReason = this.stale && typeof reason === "string" ? reason : null;
    this.inputAgeMs = this.stale && isCount(inputAgeMs) ? inputAgeMs : null;
  }

  /** "live" while the view is continuous and the gateway's source is live, "removed" once it ended, else "stale". */
  get state() {
    if (this.phase === Phase.ENDED) return "removed";
    return this.phase === Phase.FOLLOWING && !this.stale ? "live" : "stale";
  }

  /**
   * The best `count` levels of each side as a frozen `Top`: the same object for as long as nothing in it changes.
   * Throws a RangeError for a count that is negative or no number.
   */
  top(count = Infinity) {
    if (!(count >= 0)) throw new RangeError(`count is ${String(count)}: give the number of levels of each side`);
    const kept = this.#tops.get(count);
    const now = [this.book.changes, this.state, this.staleReason, this.inputAgeMs, this.tickSize, this.lotSize];
    if (kept && now.every((value, place) => value === kept.of[place])) return kept.top;
    const top = topOf(this, count, kept?.top);
    this.#tops.set(count, { of: now, top });
    return top;
  }
}
