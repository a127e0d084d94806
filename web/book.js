/** A view of one order book, kept by the rule of continuity: a delta applies only if its prev_seq is our seq. */
export class Book {
  constructor() {
    this.seq = null;
    this.bids = new Map();
    this.asks = new Map();
  }

  /** Replace everything by a snapshot message. */
  replace(message) {
    this.seq = message.seq;
    this.bids = new Map(message.bids);
    this.asks = new Map(message.asks);
  }

  /** Apply a delta message; false if it does not continue what we have. */
  apply(message) {
    if (message.prev_seq !== this.seq) return false;
    change(this.bids, message.bids);
    change(this.asks, message.asks);
    this.seq = message.seq;
    return true;
  }

  /** Best levels of a side as [price, quantity], best first. */
  best(side, count) {
    const sign = side === "bids" ? -1 : 1;
    return [...this[side]].sort((a, b) => sign * (a[0] - b[0])).slice(0, count);
  }
}

function change(levels, rows) {
  for (const [price, quantity] of rows) {
    if (quantity) levels.set(price, quantity);
    else levels.delete(price);
  }
}
