import { changed, digestOf } from "./digest.js";
import { isCount } from "./messages.js";

const FEW = 100; // levels; so many are found without sorting the rest

/** The result of offering a message to a book. */
export const Outcome = Object.freeze({
  APPLIED: "applied",
  ALREADY: "already", // not newer than the book: ignored
  GAP: "gap", // changes are missing in between: a snapshot is needed
  MISMATCH: "mismatch", // the digest differs: a snapshot is needed
});

/**
 * A view of one order book, kept by the rule of continuity (docs/protocol.md, section 1.1).
 *
 * `bids` and `asks` are maps of price → quantity in ticks and lots; `seq` is 0 before the first snapshot; `ts` is the
 * time of the last broadcast in it, and `eventTs` the newest time at the source of what it includes, null without any.
 * Nothing changes unless the outcome is APPLIED.
 */
export class Book {
  constructor() {
    this.seq = 0;
    this.ts = 0;
    this.eventTs = null;
    this.digest = 0;
    this.changes = 0; // number of messages applied
    this.bids = new Map();
    this.asks = new Map();
  }

  /** Replace everything by a `snapshot` message: APPLIED or MISMATCH. */
  replace(message) {
    const [bids, asks] = [new Map(message.bids), new Map(message.asks)];
    if (digestOf(bids, asks) !== message.digest) return Outcome.MISMATCH;
    this.eventTs = null;
    this.bids = bids;
    this.asks = asks;
    return this.#reached(message);
  }

  /** Apply a `delta` message by the rule of continuity. */
  apply(message) {
    if (message.prev_seq !== this.seq) return message.seq <= this.seq ? Outcome.ALREADY : Outcome.GAP;
    const [bids, asks] = [new Map(message.bids), new Map(message.asks)];
    const half = digestAfter(this.digest, "b", this.bids, bids);
    if (digestAfter(half, "a", this.asks, asks) !== message.digest) return Outcome.MISMATCH;
    change(this.bids, bids);
    change(this.asks, asks);
    return this.#reached(message);
  }

  /** The best `count` levels of "bids" or "asks" as [price, quantity], best first. */
  best(side, count = Infinity) {
    const sign = side === "bids" ? -1 : 1;
    const levels = this[side];
    const most = Math.max(Math.trunc(count), 0);
    if (most <= FEW) return firstOf(levels, most, sign);
    return [...levels].sort((a, b) => sign * (a[0] - b[0])).slice(0, most);
  }

  #reached(message) {
    this.changes += 1;
    this.seq = message.seq;
    this.ts = message.ts;
    if (isCount(message.event_ts)) this.eventTs = message.event_ts; // a broadcast need not have one
    this.digest = message.digest;
    return Outcome.APPLIED;
  }
}

/** The prices at which two books differ: `{ bids: Set, asks: Set }`. */
export function difference(one, other) {
  return { bids: differing(one.bids, other.bids), asks: differing(one.asks, other.asks) };
}

function differing(one, other) {
  const prices = new Set();
  for (const [price, quantity] of one) if (other.get(price) !== quantity) prices.add(price);
  for (const price of other.keys()) if (!one.has(price)) prices.add(price);
  return prices;
}

/** The first `count` levels by price × `sign`, in one pass: a full book has many others. */
function firstOf(levels, count, sign) {
  const first = [];
  for (const level of levels) {
    let place = first.length;
    while (place > 0 && sign * (level[0] - first[place - 1][0]) < 0) place -= 1;
    if (place === count) continue;
    first.splice(place, 0, level);
    if (first.length > count) first.pop();
  }
  return first;
}

function digestAfter(digest, side, levels, rows) {
  let sum = digest;
  for (const [price, to] of rows) sum = changed(sum, side, price, levels.get(price) ?? 0, to);
  return sum;
}

function change(levels, rows) {
  for (const [price, quantity] of rows) {
    if (quantity) levels.set(price, quantity);
    else levels.delete(price);
  }
}
