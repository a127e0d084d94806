// Follows books by docs/protocol.md, section 3, over any WebSocket with the interface of browsers, and stops at the
// first broken rule. Only the digest is shared with Depthcast's own client.
import { digestOf } from "../../web/digest.js";

const PATIENCE_MS = 30_000;

class Book {
  seq = 0;
  bids = new Map();
  asks = new Map();

  take(message) {
    if (message.type === "snapshot") {
      this.bids.clear();
      this.asks.clear();
    } else if (message.prev_seq !== this.seq) {
      throw new Error(`a delta from ${message.prev_seq}, not from ${this.seq}`);
    }
    this.seq = message.seq;
    for (const side of ["bids", "asks"]) {
      for (const [price, quantity] of message[side]) {
        if (quantity > 0) this[side].set(price, quantity);
        else if (!this[side].delete(price)) throw new Error(`no level at ${price} to take away`);
      }
    }
    const digest = digestOf(this.bids, this.asks);
    if (digest !== message.digest) throw new Error(`digest ${digest}, not ${message.digest}`);
  }

  toJSON() {
    return { seq: this.seq, bids: [...this.bids], asks: [...this.asks] };
  }
}

export class Follower {
  books = {};
  counts = {};
  problem = null;
  closed = null;
  waiting = [];

  /** `encode` and `decode` make frames of messages and back. */
  constructor(socket, encode = JSON.stringify, decode = JSON.parse) {
    this.socket = socket;
    this.encode = encode;
    this.decode = decode;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#step(() => this.#take(this.decode(data))));
    socket.addEventListener("close", ({ code, reason }) => this.#step(() => (this.closed = { code, reason })));
    socket.addEventListener("error", ({ message }) => this.#step(() => (this.problem ??= new Error(message ?? "error"))));
  }

  send(message) {
    this.socket.send(this.encode(message));
  }

  /** The subscription's snapshots are there; returns what was negotiated. */
  async subscribed(symbols) {
    await this.until(() => symbols.every((symbol) => this.books[symbol]));
    return { protocol: this.socket.protocol, extensions: this.socket.extensions };
  }

  async welcomed() {
    await this.until(() => this.counts.welcome);
  }

  async ping() {
    const before = this.counts.pong ?? 0;
    this.send({ op: "ping", id: "here" });
    await this.until(() => this.counts.pong > before);
  }

  /** Every book is at its seq of `targets`; returns the books. */
  async reach(targets) {
    await this.until(() => Object.entries(targets).every(([symbol, seq]) => this.books[symbol].seq >= seq));
    return { books: this.books, counts: this.counts };
  }

  /** Ends the connection (`ending`: see peers.py); returns the close frame that was received. */
  async end(ending) {
    if (ending === "close") this.socket.close(4000, "done");
    if (ending === "misuse") this.socket.send(this.encode === JSON.stringify ? new Uint8Array([0x81]) : "{}");
    await this.until(() => this.closed);
    return this.closed;
  }

  async until(condition) {
    const timer = setTimeout(() => this.#step(() => (this.problem ??= new Error("nothing more came"))), PATIENCE_MS);
    try {
      for (;;) {
        if (this.problem) throw this.problem;
        if (condition()) return;
        if (this.closed) throw new Error(`closed with ${this.closed.code} ${this.closed.reason}`);
        await new Promise((resolve) => this.waiting.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(message) {
    this.counts[message.type] = (this.counts[message.type] ?? 0) + 1;
    if (message.type === "error") throw new Error(message.message);
    if (message.type === "snapshot") this.books[message.symbol] ??= new Book();
    if (message.type === "snapshot" || message.type === "delta") this.books[message.symbol].take(message);
  }

  #step(action) {
    try {
      action();
    } catch (error) {
      this.problem ??= error;
    }
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
