import { Book, Outcome } from "./book.js";

/** The progress of a symbol's subscription. */
export const Phase = Object.freeze({
  ASKED: "asked", // a subscribe was sent; messages still belong to an older subscription
  WAITING: "waiting", // subscribed, and a snapshot must come next
  FOLLOWING: "following", // the view is continuous
});

const RESYNCS_MAX = 10;

/**
 * One subscribed symbol: its book, and whether it is current. The sizes are decimal text, known once subscribed; those
 * of a new listing come with its snapshot.
 */
export class View {
  constructor(symbol, depth, intervalMs) {
    this.symbol = symbol;
    this.depth = depth;
    this.intervalMs = intervalMs;
    this.book = new Book();
    this.phase = Phase.ASKED;
    this.asked = 0;
    this.stale = false;
    this.staleReason = null; // why a producer calls the book stale, null while none does
    this.resyncs = 0;
    this.tickSize = this.lotSize = "1";
    this.sizes = null; // as the last `subscribed` gave them: [tick, lot]
  }

  /** The book is that of the last `subscribed` from now on, and so are the sizes. */
  takeSizes() {
    [this.tickSize, this.lotSize] = this.sizes;
  }

  /** "live" while the view is continuous and the gateway's source is live, else "stale". */
  get state() {
    return this.phase === Phase.FOLLOWING && !this.stale ? "live" : "stale";
  }
}

/**
 * The WebSocket client without its socket: messages in, messages out. It outlives connections.
 *
 * `send(message)` sends a message, `tell(kind, detail)` reports an event: "update" with `{view, message}`, "status"
 * with `{view}`, "removed" with `{symbol, reason}`, "problem" with `{code, text, symbol}`.
 * `creditWindow`: maximum number of snapshots and deltas in flight; 0 leaves the limit to TCP.
 */
export class Session {
  #send;
  #tell;
  #id = 0;
  #spent = 0;

  constructor({ send, tell, creditWindow = 0 }) {
    this.#send = send;
    this.#tell = tell;
    this.creditWindow = creditWindow;
    this.views = new Map();
    this.welcome = null;
    this.connected = false;
    this.tryLater = false; // the gateway has no instruments yet: drop the connection and make a new one
    this.counters = {
      snapshots: 0, deltas: 0, merged: 0, ignored: 0, gaps: 0, mismatches: 0, resumed: 0,
    };
  }

  /** Subscribe to a symbol, or replace its subscription; returns its view, which fills when the gateway answers. */
  subscribe(symbol, { depth = 25, intervalMs = 0 } = {}) {
    const view = new View(symbol, depth, intervalMs);
    this.views.set(symbol, view);
    if (this.connected) this.#ask(view);
    return view;
  }

  /** End a subscription; no more events of the symbol follow. */
  unsubscribe(symbol) {
    if (this.views.delete(symbol) && this.connected) this.#send({ op: "unsubscribe", symbols: [symbol] });
  }

  /** A connection is open: grant credit, subscribe to everything again, and offer to resume the views. */
  opened() {
    this.connected = true;
    this.tryLater = false;
    this.#spent = 0;
    if (this.creditWindow) this.#send({ op: "credit", messages: this.creditWindow });
    for (const view of this.views.values()) this.#ask(view, true);
  }

  /** The connection has ended: the books stay, but are stale until they are continuous again. */
  lost() {
    this.connected = false;
    for (const view of this.views.values()) {
      view.phase = Phase.ASKED;
      this.#tell("status", { view });
    }
  }

  /** Handle one message of the gateway; unknown types are ignored. */
  receive(message) {
    if (message.type === "snapshot" || message.type === "delta") this.#data(message);
    else if (message.type === "subscribed") this.#subscribed(message);
    else if (message.type === "unsubscribed") this.#unsubscribed(message);
    else if (message.type === "status") this.#status(message);
    else if (message.type === "error") this.#error(message);
    else if (message.type === "welcome") this.welcome = message;
  }

  #ask(view, resume = false) {
    view.phase = Phase.ASKED;
    view.asked = this.#id += 1;
    const message = {
      op: "subscribe", id: view.asked, symbols: [view.symbol], depth: view.depth, interval_ms: view.intervalMs,
    };
    const { seq, digest } = view.book;
    if (resume && seq) message.resume = { [view.symbol]: { seq, digest } };
    this.#send(message);
  }

  #subscribed(message) {
    const view = this.views.get(message.symbol);
    // Without an id the gateway began the subscription anew, for a new listing; unless another one is asked for.
    const anew = message.id === undefined && view?.phase !== Phase.ASKED;
    if (!view || (!anew && message.id !== view.asked)) return;
    view.sizes = [message.tick_size, message.lot_size];
    if (message.resumed || !view.book.seq) view.takeSizes();
    view.stale = false;
    view.staleReason = null;
    view.phase = message.resumed ? Phase.FOLLOWING : Phase.WAITING;
    if (message.resumed) {
      this.counters.resumed += 1;
      view.book.seq = message.seq; // may be lower: another gateway, the same view
    }
    this.#tell("status", { view });
  }

  #unsubscribed({ symbol, reason }) {
    if (reason && this.views.delete(symbol)) this.#tell("removed", { symbol, reason });
  }

  #status({ symbol, state, reason = null }) {
    const view = this.views.get(symbol);
    if (!view || view.phase === Phase.ASKED) return;
    view.stale = state !== "live";
    view.staleReason = view.stale ? reason : null;
    this.#tell("status", { view });
  }

  #data(message) {
    this.#count(message);
    const view = this.views.get(message.symbol);
    const outcome = view ? offer(view, message) : Outcome.ALREADY;
    if (outcome === Outcome.APPLIED) {
      view.phase = Phase.FOLLOWING;
      view.resyncs = 0;
      if (message.type === "snapshot") view.takeSizes();
      this.#tell("update", { view, message });
    } else if (outcome === Outcome.ALREADY) this.counters.ignored += 1;
    else this.#resync(view, outcome);
    this.#payCredit();
  }

  #count({ type, merged = 1 }) {
    if (type === "snapshot") this.counters.snapshots += 1;
    else this.counters.deltas += 1;
    this.counters.merged += merged - 1;
  }

  /** After a gap or a wrong digest, request a snapshot; until it comes the old view stays, marked stale. */
  #resync(view, outcome) {
    this.counters[outcome === Outcome.GAP ? "gaps" : "mismatches"] += 1;
    view.resyncs += 1;
    if (view.resyncs <= RESYNCS_MAX) this.#ask(view);
    else this.#drop(view, "inconsistent", `${RESYNCS_MAX} snapshots in a row led to no continuous book (${outcome})`);
    this.#tell("status", { view });
  }

  #drop(view, code, text) {
    this.unsubscribe(view.symbol);
    this.#tell("problem", { code, text, symbol: view.symbol });
  }

  #error({ id, code, message: text, symbol }) {
    const view = [...this.views.values()].find(({ asked }) => asked === id);
    if (view && code === "unavailable") {
      this.tryLater = true;
      return;
    }
    if (view) this.views.delete(view.symbol);
    this.#tell("problem", { code, text, symbol });
  }

  /** Give credit back for messages that were read, half a window at a time. */
  #payCredit() {
    this.#spent += 1;
    if (!this.creditWindow || !this.connected || this.#spent * 2 < this.creditWindow) return;
    this.#send({ op: "credit", messages: this.#spent });
    this.#spent = 0;
  }
}

function offer(view, message) {
  if (view.phase === Phase.ASKED) return Outcome.ALREADY;
  if (message.type === "snapshot") return view.book.replace(message);
  return view.phase === Phase.WAITING ? Outcome.GAP : view.book.apply(message);
}
