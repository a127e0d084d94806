import { Outcome } from "./book.js";

/** Levels of a snapshot in parts: a gateway that never sends the last one must not use up the memory. */
const LEVELS_MAX = 20_000_000;

/** Puts a snapshot together that comes in parts (docs/protocol.md, section 3.3); nothing of it is shown before the last. */
export class Parts {
  #of = null; // what the parts that came have in common, null before the first
  #came = 0;
  #bids = [];
  #asks = [];

  /** Whether a snapshot has begun whose last part has not come. */
  get begun() {
    return this.#of !== null;
  }

  forget() {
    this.#of = null;
    this.#came = 0;
    this.#bids = [];
    this.#asks = [];
  }

  /**
   * Take a `snapshot` message, whole or a part; returns the whole one, null while further parts come, ALREADY for one
   * that has come before, and GAP for one that is not the next.
   */
  add(message) {
    const { part = 1, parts = 1, seq, digest, orders_digest: orders } = message;
    const of = [seq, digest, orders, parts].join(" ");
    if (of !== this.#of) this.forget();
    else if (part <= this.#came) return Outcome.ALREADY;
    const tooMany = this.#bids.length + this.#asks.length > LEVELS_MAX;
    if (part !== this.#came + 1 || tooMany) {
      this.forget();
      return Outcome.GAP;
    }
    this.#of = of;
    this.#came = part;
    for (const level of message.bids) this.#bids.push(level);
    for (const level of message.asks) this.#asks.push(level);
    if (part < parts) return null;
    const whole = { ...message, bids: this.#bids, asks: this.#asks };
    this.forget();
    return whole;
  }
}
