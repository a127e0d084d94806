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
 * `bids` and `asks` are maps of price → quantity in ticks and lots; `orders` has such maps of price → number of orders,
 * and is null if these were not asked for. `seq` is 0 before the first snapshot; `ts` is the time of the last broadcast
 * in it, and `eventTs` the newest time at the source of what it includes, null without any. Nothing changes unless the
 * outcome is APPLIED.
 */
export class Book {
  constructor() {
    this.seq = 0;
    this.ts = 0;
    this.eventTs = null;
    this.digest = 0;
    this.ordersDigest = 0;
    this.changes = 0; // number of messages applied
    this.bids = new Map();
    this.asks = new Map();
    this.orders = null;
  }

  /** Replace everything by a `snapshot` message: APPLIED or MISMATCH. */
  replace(message) {
    const [levels, orders] = [levelsIn(message), ordersIn(message)];
    if (digestOf(levels.bids, levels.asks) !== message.digest) return Outcome.MISMATCH;
    if (orders && digestOf(orders.bids, orders.asks) !== message.orders_digest) return Outcome.MISMATCH;
    Object.assign(this, levels, { orders, eventTs: null });
    return this.#reached(message);
  }

  /** Apply a `delta` message by the rule of continuity. */
  apply(message) {
    if (message.prev_seq !== this.seq) return message.seq <= this.seq ? Outcome.ALREADY : Outcome.GAP;
    const [levels, orders] = [levelsIn(message), this.orders && ordersIn(message)];
    if (this.orders && !orders) return Outcome.MISMATCH;
    if (digestAfter(this.digest, this, levels) !== message.digest) return Outcome.MISMATCH;
    if (orders && digestAfter(this.ordersDigest, this.orders, orders) !== message.orders_digest) return Outcome.MISMATCH;
    change(this, levels);
    if (orders) change(this.orders, orders);
    return this.#reached(message);
  }

  /** The best `count` levels of "bids" or "asks" as [price, quantity], with orders as [price, quantity, orders]. */
  best(side, count = Infinity) {
    const sign = side === "bids" ? -1 : 1;
    const most = Math.max(Math.trunc(count), 0);
    const best = most <= FEW
      ? firstOf(this[side], most, sign)
      : [...this[side]].sort((a, b) => sign * (a[0] - b[0])).slice(0, most);
    if (this.orders) for (const level of best) level.push(this.orders[side].get(level[0]));
    return best;
  }

  #reached(message) {
    this.changes += 1;
    this.seq = message.seq;
    this.ts = message.ts;
    if (isCount(message.event_ts)) this.eventTs = message.event_ts; // a broadcast need not have one
    this.digest = message.digest;
    if (this.orders) this.ordersDigest = message.orders_digest;
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

/** The sides of a message as maps of price → quantity. */
function levelsIn({ bids, asks }) {
  return { bids: new Map(bids), asks: new Map(asks) };
}

/** The sides of a message as maps of price → number of orders; null if it has none. */
function ordersIn({ bids, asks, orders_digest: digest }) {
  const side = (rows) => new Map(rows.map(([price, , orders]) => [price, orders]));
  return digest === undefined ? null : { bids: side(bids), asks: side(asks) };
}

/** The digest of both sides after `rows`, from the one before. */
function digestAfter(digest, sides, rows) {
  let sum = digest;
  for (const [price, to] of rows.bids) sum = changed(sum, "b", price, sides.bids.get(price) ?? 0, to);
  for (const [price, to] of rows.asks) sum = changed(sum, "a", price, sides.asks.get(price) ?? 0, to);
  return sum;
}

function change(sides, rows) {
  for (const side of ["bids", "asks"]) {
    for (const [price, to] of rows[side]) {
      if (to) sides[side].set(price, to);
      else sides[side].delete(price);
    }
  }
}
