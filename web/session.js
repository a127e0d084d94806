import { Outcome } from "./book.js";
import { faultIn, isSymbol } from "./messages.js";
import { fieldsOf, fits, keyOf, lackIn, subscriptionOf } from "./subscription.js";
import { Phase, View } from "./view.js";

export { Phase, View } from "./view.js";

const EVERYTHING = "*";
const RESYNCS_MAX = 10;
const SYMBOLS_PER_MESSAGE = 100; // every gateway accepts as many

/**
 * The WebSocket client without its socket: messages in, messages out. It outlives connections.
 *
 * `send(message)` sends a message, `tell(kind, detail)` reports an event: "update" with `{view, message}`, "status"
 * with `{view}`, "removed" with `{symbol, reason}`, "problem" with `{code, text, symbol}`.
 * `creditWindow`: maximum number of snapshots and deltas in flight; 0 leaves the limit to TCP. `pace(pay)` says when
 * credit is given back, by calling `pay`; without it, that is after each half of the window.
 */
export class Session {
  #send;
  #tell;
  #pace;
  #id = 0;
  #spent = 0;
  #paying = false;
  #everything = null; // the subscription to "*"
  #held = new Set(); // symbols that the gateway said are subscribed on this connection
  #leaving = new Map(); // symbol → how many unsubscribes of it have no answer yet
  #postponed = new Set(); // ids of messages that the gateway did not carry out to their end

  constructor({ send, tell, creditWindow = 0, pace = null }) {
    this.#send = send;
    this.#tell = tell;
    this.#pace = pace;
    this.creditWindow = creditWindow;
    this.views = new Map();
    this.welcome = null;
    this.connected = false;
    this.tryLater = false; // the gateway has no instruments yet: drop the connection and make a new one
    this.counters = {
      snapshots: 0, deltas: 0, merged: 0, ignored: 0, gaps: 0, mismatches: 0, resumed: 0,
    };
  }

  /**
   * Subscribe, or replace subscriptions. For one symbol it returns its view, for a list of symbols their views, which
   * fill when the gateway answers. "*" means all symbols, also those listed later: it returns the map of all views.
   * Throws a TypeError if an argument is of another type.
   */
  subscribe(symbols, options) {
    const wanted = subscriptionOf(options);
    const names = namesIn(symbols);
    if (names.length === 1 && names[0] === EVERYTHING) return this.#subscribeToAll(wanted);
    const views = names.map((symbol) => this.#begin(symbol, wanted));
    const asked = views.filter((view) => this.views.get(view.symbol) === view);
    if (this.connected) this.#askInParts(asked);
    return typeof symbols === "string" ? views[0] : views;
  }

  /** End the subscription to a symbol, to each of a list, or to everything by "*"; no more events of them follow. */
  unsubscribe(symbols) {
    const names = namesIn(symbols);
    const all = names.includes(EVERYTHING);
    const ended = (all ? [...this.views.keys()] : names).filter((symbol) => this.#end(symbol));
    if (all) {
      const any = this.#everything !== null || ended.length > 0;
      this.#everything = null;
      if (any && this.connected) this.#send({ op: "unsubscribe", symbols: [EVERYTHING] });
      return;
    }
    // Everything may bring a symbol that has no view yet.
    const leaving = this.#everything ? names.filter(isSymbol) : ended;
    for (const symbol of leaving) this.#everything?.without.add(symbol);
    if (leaving.length && this.connected) this.#leave(leaving);
  }

  /** A connection is open: grant credit, subscribe to everything again, and offer to resume the views. */
  opened() {
    this.connected = true;
    this.tryLater = false;
    this.#spent = 0;
    if (this.creditWindow) this.#send({ op: "credit", messages: this.creditWindow });
    if (this.#everything) this.#askForAll();
    this.#askInGroups([...this.views.values()].filter(({ wild }) => !wild));
  }

  /** The connection has ended: the books stay, but are stale until they are continuous again. */
  lost() {
    this.connected = false;
    this.#held.clear();
    this.#leaving.clear();
    this.#postponed.clear();
    for (const view of [...this.views.values()]) {
      if (view.phase === Phase.ENDED) continue; // by a listener, meanwhile
      view.phase = Phase.ASKED;
      view.parts.forget();
      this.#tell("status", { view });
    }
  }

  /** Whether there is any subscription, answered or not. */
  get wanted() {
    return this.#everything !== null || this.views.size > 0;
  }

  /** Whether the gateway has begun a subscription on this connection that has not ended. */
  get served() {
    return this.#held.size > 0;
  }

  /** Whether the gateway asked to wait with some subscriptions; `askAgain` repeats them. */
  get postponed() {
    return this.#postponed.size > 0;
  }

  /** Repeat the subscriptions that the gateway refused as too many at a time. */
  askAgain() {
    const ids = new Set(this.#postponed);
    this.#postponed.clear();
    if (!this.connected || !ids.size) return;
    const waiting = [...this.views.values()].filter(({ phase, asked }) => phase === Phase.ASKED && ids.has(asked));
    const all = ids.has(this.#everything?.asked);
    if (all) this.#askForAll();
    this.#askInGroups(waiting.filter(({ wild }) => !(all && wild)));
  }

  /** Handle one message of the gateway; false if it is malformed. Unknown types are ignored. */
  receive(message) {
    const fault = faultIn(message);
    if (fault) {
      const symbol = typeof message?.symbol === "string" ? message.symbol : undefined;
      this.#tell("problem", { code: "bad_message", text: fault, symbol });
      return false;
    }
    if (message.type === "snapshot" || message.type === "delta") this.#data(message);
    else if (message.type === "subscribed") this.#subscribed(message);
    else if (message.type === "unsubscribed") this.#unsubscribed(message);
    else if (message.type === "status") this.#status(message);
    else if (message.type === "error") this.#error(message);
    else if (message.type === "pong") this.#pong(message);
    else if (message.type === "welcome") this.welcome = message;
    return true;
  }

  // --- subscribing

  /** A new view in the place of what there is; a text that cannot be a symbol is refused here. */
  #begin(symbol, options) {
    const view = new View(symbol, options);
    const replaced = this.views.get(symbol);
    if (replaced) replaced.phase = Phase.ASKED; // nothing follows it any more
    this.#everything?.without.delete(symbol);
    this.views.set(symbol, view);
    if (!isSymbol(symbol)) {
      this.#end(symbol);
      this.#tell("problem", { code: "unknown_symbol", text: `${JSON.stringify(symbol)} can be no symbol`, symbol });
    }
    return view;
  }

  /** All views become part of the subscription to "*": the gateway replaces their subscriptions too. */
  #subscribeToAll(options) {
    this.#everything = { options, asked: 0, answered: false, without: new Set() };
    for (const view of this.views.values()) Object.assign(view, { options, wild: true });
    if (this.connected) this.#askForAll(false);
    return this.views;
  }

  #askForAll(resume = true) {
    const { options, without } = this.#everything;
    const views = [...this.views.values()].filter(({ wild }) => wild);
    this.#everything.asked = this.#request([EVERYTHING], views, options, resume);
    this.#everything.answered = false;
    if (without.size) this.#leave([...without]);
    this.#send({ op: "ping", id: pingAfter(this.#everything.asked) });
  }

  /** Ask for views of any options, and offer to resume them. */
  #askInGroups(views) {
    const groups = new Map();
    for (const view of views) {
      const key = keyOf(view.options);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(view);
    }
    for (const group of groups.values()) this.#askInParts(group, true);
  }

  /** Ask for views of equal options, in messages of `SYMBOLS_PER_MESSAGE` at most. */
  #askInParts(views, resume = false) {
    for (let begin = 0; begin < views.length; begin += SYMBOLS_PER_MESSAGE) {
      const part = views.slice(begin, begin + SYMBOLS_PER_MESSAGE);
      this.#request(part.map(({ symbol }) => symbol), part, part[0].options, resume);
    }
  }

  /** Send a subscribe for `symbols`, which brings `views`; returns its id. */
  #request(symbols, views, options, resume) {
    const id = this.#id += 1;
    const message = { op: "subscribe", id, symbols, ...fieldsOf(options) };
    for (const view of views) {
      view.phase = Phase.ASKED;
      view.asked = id;
      view.parts.forget();
      const { seq, digest, orders, ordersDigest } = view.book;
      view.offered = resume && seq > 0 && view.held === view.options;
      if (!view.offered) continue;
      (message.resume ??= {})[view.symbol] = { seq, digest, ...(orders && { orders_digest: ordersDigest }) };
    }
    this.#send(message);
    return id;
  }

  #leave(symbols) {
    for (const symbol of symbols) this.#leaving.set(symbol, (this.#leaving.get(symbol) ?? 0) + 1);
    this.#send({ op: "unsubscribe", symbols });
  }

  /** An unsubscribe has its answer. */
  #left(symbol) {
    const left = (this.#leaving.get(symbol) ?? 0) - 1;
    if (left > 0) this.#leaving.set(symbol, left);
    else this.#leaving.delete(symbol);
  }

  /** Forget a view; false if there is none. */
  #end(symbol) {
    const view = this.views.get(symbol);
    if (!view) return false;
    view.phase = Phase.ENDED;
    return this.views.delete(symbol);
  }

  // --- messages

  #subscribed(message) {
    const { id, symbol } = message;
    this.#held.add(symbol);
    const all = this.#everything;
    const brought = all !== null && (id === undefined || id === all.asked) && !all.without.has(symbol);
    if (brought && !this.views.has(symbol)) {
      const view = new View(symbol, all.options);
      this.views.set(symbol, Object.assign(view, { wild: true, asked: all.asked }));
    }
    const view = this.views.get(symbol);
    if (!view) {
      // "*" brings what was listed after it was unsubscribed, or after a "*" was refused that was to replace it.
      if (id === undefined && !this.#leaving.has(symbol)) this.#leave([symbol]);
      return;
    }
    // Without an id the gateway began the subscription anew, for a new listing, unless another one is asked for; or
    // "*" brings a symbol that was listed later.
    const anew = id === undefined && (view.phase !== Phase.ASKED || (view.wild && view.asked === all?.asked));
    if (anew ? !fits(message, view.options) : id !== view.asked) {
      this.#wait(view); // it is of other options, or replaced, and so is all that follows it
      return;
    }
    const lack = lackIn(message, view.options);
    if (lack) {
      this.#drop(view, "unsupported", lack);
      this.#tell("status", { view });
      return;
    }
    // What was not offered cannot be resumed: the view may be of another depth, or empty.
    const resumed = Boolean(message.resumed) && view.offered && !anew;
    view.offered = false;
    view.sizes = [message.tick_size, message.lot_size];
    if (resumed || !view.book.seq) view.takeSizes();
    view.takeStatus();
    view.parts.forget();
    view.phase = resumed ? Phase.FOLLOWING : Phase.WAITING;
    if (resumed) {
      this.counters.resumed += 1;
      view.book.seq = message.seq; // may be lower: another gateway, the same view
    }
    this.#tell("status", { view });
  }

  /** What comes is of another subscription, until the answer to the subscribe that is on its way. */
  #wait(view) {
    if (view.phase === Phase.ASKED) return;
    view.phase = Phase.ASKED;
    view.parts.forget();
    this.#tell("status", { view });
  }

  #unsubscribed({ symbol, reason }) {
    this.#held.delete(symbol);
    if (!reason) this.#left(symbol);
    const view = this.views.get(symbol);
    if (!view) return;
    if (!reason) {
      // The view was asked for after the unsubscribe that this answers, or "*" has brought it since.
      if (view.phase !== Phase.ASKED && this.#everything?.answered) this.#askInParts([view]);
      else this.#wait(view);
      return;
    }
    // What ends here came before a subscribe that is still to be answered: its answer decides.
    if (view.phase === Phase.ASKED && !view.wild) return;
    this.#end(symbol);
    this.#tell("status", { view });
    this.#tell("removed", { symbol, reason });
  }

  #status(message) {
    const view = this.views.get(message.symbol);
    if (!view || view.phase === Phase.ASKED) return;
    view.takeStatus(message);
    this.#tell("status", { view });
  }

  #data(message) {
    this.#count(message);
    const view = this.views.get(message.symbol);
    const [outcome, whole] = view ? offer(view, message) : [Outcome.ALREADY];
    if (outcome === null) {
      // Further parts of the snapshot come first.
    } else if (outcome === Outcome.APPLIED) {
      view.phase = Phase.FOLLOWING;
      view.resyncs = 0;
      if (message.type === "snapshot") view.takeOver();
      this.#tell("update", { view, message: whole });
    } else if (outcome === Outcome.ALREADY) this.counters.ignored += 1;
    else this.#resync(view, outcome);
    this.#payCredit();
  }

  #count({ type, merged = 1, part = 1, parts = 1 }) {
    if (type === "snapshot") this.counters.snapshots += part === parts ? 1 : 0;
    else this.counters.deltas += 1;
    this.counters.merged += merged - 1;
  }

  /** After a gap or a wrong digest, request a snapshot; until it comes the old view stays, marked stale. */
  #resync(view, outcome) {
    this.counters[outcome === Outcome.GAP ? "gaps" : "mismatches"] += 1;
    view.resyncs += 1;
    if (view.resyncs <= RESYNCS_MAX) this.#askInParts([view]);
    else this.#drop(view, "inconsistent", `${RESYNCS_MAX} snapshots in a row led to no continuous book (${outcome})`);
    this.#tell("status", { view });
  }

  #drop(view, code, text) {
    this.unsubscribe(view.symbol);
    this.#tell("problem", { code, text, symbol: view.symbol });
  }

  /**
   * An error in answer to a subscribe ends what it refuses: one symbol, or every symbol of the message that was not
   * answered before.
   */
  #error({ id, code, message: text, symbol }) {
    if (code === "not_subscribed") {
      this.#left(symbol); // it ended in the meantime
      return;
    }
    const all = id !== undefined && this.#everything?.asked === id;
    const refused = id === undefined ? [] : this.#unanswered(id, symbol);
    const ours = all || refused.length > 0;
    if (ours && code === "unavailable") {
      this.tryLater = true;
      return;
    }
    if (ours && code === "rate_limited") this.#postponed.add(id);
    else {
      const whole = all && symbol === undefined && code !== "limit";
      if (whole) this.#everything = null;
      if (all) this.#giveUp(whole ? [...this.#held] : [symbol]);
      for (const view of refused) if (isOf(view, id)) this.#refuse(view); // a listener may have asked anew
    }
    this.#tell("problem", { code, text, symbol });
  }

  /** End what the gateway goes on with though no view shows it: it refused what was to replace that. */
  #giveUp(symbols) {
    const vain = symbols.filter((symbol) => !this.views.has(symbol) && this.#held.delete(symbol));
    if (vain.length) this.#leave(vain);
  }

  #unanswered(id, symbol) {
    const named = (view) => symbol === undefined || view.symbol === symbol;
    return [...this.views.values()].filter((view) => isOf(view, id) && named(view));
  }

  /**
   * The gateway has carried out the subscribe to "*" before this ping, so it has named all that there is. Of what was
   * shown before, the rest is gone.
   */
  #pong({ id }) {
    const asked = this.#everything?.asked;
    if (!asked || id !== pingAfter(asked) || this.#postponed.has(asked) || this.tryLater) return;
    this.#everything.answered = true;
    const waiting = this.#unanswered(asked).filter(({ wild }) => wild);
    for (const view of waiting) {
      if (isOf(view, asked) && this.#refuse(view)) this.#tell("removed", { symbol: view.symbol, reason: "removed" });
    }
  }

  /** End a view; false if a listener has replaced it. The gateway goes on with what was not replaced there. */
  #refuse(view) {
    if (this.views.get(view.symbol) !== view) return false;
    this.#end(view.symbol);
    if (this.#held.delete(view.symbol)) this.#leave([view.symbol]);
    this.#tell("status", { view });
    return true;
  }

  // --- credit

  #payCredit() {
    this.#spent += 1;
    if (!this.creditWindow || !this.connected) return;
    if (!this.#pace) {
      if (this.#spent * 2 >= this.creditWindow) this.#pay();
    } else if (!this.#paying) {
      this.#paying = true;
      this.#pace(() => this.#pay());
    }
  }

  #pay() {
    this.#paying = false;
    if (!this.connected || !this.#spent) return;
    this.#send({ op: "credit", messages: this.#spent });
    this.#spent = 0;
  }
}

/** Offer a message to a view: returns what became of it, null if further parts come first, and the whole message. */
function offer(view, message) {
  if (view.phase === Phase.ASKED) return [Outcome.ALREADY];
  if (message.type === "delta") {
    const gap = view.phase === Phase.WAITING || view.parts.begun;
    return [gap ? Outcome.GAP : view.book.apply(message), message];
  }
  if (view.phase === Phase.FOLLOWING && message.seq <= view.book.seq) return [Outcome.ALREADY];
  const whole = view.parts.add(message);
  if (whole === null || typeof whole === "string") return [whole];
  const uncounted = view.options.orders && message.orders_digest === undefined;
  return [uncounted ? Outcome.MISMATCH : view.book.replace(whole), whole];
}

/** Whether a view waits for the answer to the subscribe of that id. */
function isOf(view, id) {
  return view.asked === id && view.phase === Phase.ASKED;
}

/** The symbols of an argument: one text, or a list of texts, each once. */
function namesIn(symbols) {
  const names = typeof symbols === "string" ? [symbols] : Array.isArray(symbols) ? [...new Set(symbols)] : null;
  if (!names || names.some((name) => typeof name !== "string")) {
    throw new TypeError(`symbols are ${String(symbols)}: give a symbol, a list of symbols, or "*"`);
  }
  if (names.length > 1 && names.includes(EVERYTHING)) {
    throw new TypeError('"*" means all symbols: give it alone');
  }
  return names;
}

/** The id of the ping behind the subscribe to "*" of the id `asked`. */
function pingAfter(asked) {
  return `after ${asked}`;
}
