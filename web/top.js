import { decimal, parsed } from "./format.js";

/**
 * The best levels of a view at one moment, frozen: `bids` and `asks` are lists of `[price, quantity]` in ticks and
 * lots, best first, with the number of orders behind them if that was asked for. What did not change is the same object
 * as before: a level, a side, and the whole.
 */
export class Top {
  #tick;
  #lot;

  constructor(fields) {
    Object.assign(this, fields);
    this.#tick = parsed(fields.tickSize);
    this.#lot = parsed(fields.lotSize);
    Object.freeze(this);
  }

  /** A price as exact text: `price(6500010)` is "65000.10" for a tick size of "0.01". */
  price(ticks) {
    return decimal(ticks, this.#tick);
  }

  /** A quantity as exact text. */
  quantity(lots) {
    return decimal(lots, this.#lot);
  }
}

const NAMES = ["state", "staleReason", "inputAgeMs", "tickSize", "lotSize", "bids", "asks"];

/** The top `count` levels of a view now; `previous` itself if nothing in it changed. */
export function topOf(view, count, previous) {
  const { symbol, state, staleReason, inputAgeMs, tickSize, lotSize, book } = view;
  const now = {
    symbol, state, staleReason, inputAgeMs, tickSize, lotSize,
    bids: same(previous?.bids, book.best("bids", count)),
    asks: same(previous?.asks, book.best("asks", count)),
  };
  return previous && NAMES.every((name) => previous[name] === now[name]) ? previous : new Top(now);
}

/** `levels`, frozen; levels that were there before are the same objects, and so is the list if all are. */
function same(previous = [], levels) {
  const known = new Map(previous.map((level) => [level[0], level]));
  const kept = levels.map((level) => {
    const before = known.get(level[0]);
    return before?.[1] === level[1] && before[2] === level[2] ? before : Object.freeze(level);
  });
  const unchanged = kept.length === previous.length && kept.every((level, place) => level === previous[place]);
  return unchanged && Object.isFrozen(previous) ? previous : Object.freeze(kept);
}
