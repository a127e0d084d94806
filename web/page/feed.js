import { parsed } from "../format.js";
import { isSymbol } from "../messages.js";
import { sentence, standingOf } from "./standing.js";

const NO_LEVELS = Object.freeze([]);
const NOTHING = Object.freeze({ seq: 0, ts: 0, digest: 0, bids: NO_LEVELS, asks: NO_LEVELS });
const UNIT = "1";

const HEARTBEAT_MS = 5000;
const STALE_MS = 5000;
/** A gateway that is alive sends something at least every heartbeat; this many, and a second, allow for being late. */
const HEARTBEATS_LATE = 1.5;
const LATE_MS = 1000;
/** The client takes a silent connection for lost after so many heartbeats. */
const HEARTBEATS_LOST = 3;
/** Time that a page which was hidden waits for what the gateway held back, before it takes its book for current. */
const CATCH_UP_MS = 500;

/**
 * One connection of the page and the book it shows: what is drawn, how far that can be trusted, and how old it is.
 *
 * `connect` makes a client. It is called at the first symbol, because a gateway ends connections that want nothing.
 * `barred` says why another token is wanted first, or "".
 */
export class Feed {
  #connect;
  #isPaused;
  #barred;
  #shown = NOTHING; // of the book after its `#changes`th change
  #changes = 0;
  #sinceMs = null; // performance.now() at the last update; earlier if that was old when it came
  #arrivedMs = -Infinity; // performance.now() when the last update came
  #wokeMs = -Infinity;
  #heard = { bytes: -1, ticksMs: 0, wallMs: 0 }; // when something came last, by two clocks
  #follows = false; // whether the next delta follows on a message, so that its time is that of its sending
  #retryAtMs = 0;
  #lost = null;
  #refusal = "";
  #leaving = false; // whether the client is closed as soon as it is connected

  constructor(connect, { isPaused = () => false, barred = () => "" } = {}) {
    this.#connect = connect;
    this.#isPaused = isPaused;
    this.#barred = barred;
    this.client = null;
    this.symbol = "";
    this.depth = 0;
    this.group = 1;
    this.view = null;
    this.lagMs = null;
    this.sourceMs = null; // from the time at the source of the last delta to here
    this.because = ""; // what held broadcasts back when the last ones came merged: "buffer", "credit" or "interval"
  }

  /** Whether nothing more will come of what is shown, so that showing it again makes sense. */
  get isOver() {
    return this.client?.state === "ended" || this.view?.state === "removed";
  }

  /** For how long (ms) a book may have been taken for live before it was known that it was not. */
  get doubtMs() {
    const { heartbeat_ms: heartbeatMs = HEARTBEAT_MS, limits } = this.client?.welcome ?? {};
    return Math.max(HEARTBEATS_LOST * heartbeatMs, limits?.stale_ms ?? STALE_MS);
  }

  /** Show another symbol, or another depth, or levels of `group` ticks. */
  show(symbol, depth, group = 1) {
    this.#leaving = false;
    if (this.client?.state === "ended") this.client = null;
    if (this.view && this.view.symbol !== symbol) this.client?.unsubscribe(this.view.symbol);
    Object.assign(this, { symbol, depth, group, view: null, lagMs: null, sourceMs: null, because: "" });
    this.#shown = NOTHING;
    this.#changes = 0;
    this.#sinceMs = null;
    this.#follows = false;
    this.#refusal = "";
    if (isSymbol(symbol)) {
      this.client ??= this.#open();
      this.view = this.client.subscribe(symbol, { depth, group });
    } else if (symbol) this.#refusal = `“${symbol}” cannot be a symbol.`;
  }

  /** The page is seen again at `now`: while it was hidden it gave no credit back, so the book may be old. */
  wake(now) {
    this.#wokeMs = now;
    this.#follows = false;
  }

  /** Connect anew, because what the connection was opened with does not count any more. */
  restart() {
    if (this.client === null) return;
    const { symbol, depth, group, view } = this;
    this.client.close();
    this.client = null;
    if (view) this.show(symbol, depth, group);
  }

  close() {
    const { client, view } = this;
    this.view = null;
    this.#leaving = client?.state === "connecting"; // closed sooner, a browser complains on its console
    if (this.#leaving) {
      if (view) client.unsubscribe(view.symbol);
      return;
    }
    this.client = null;
    client?.close();
  }

  /** Read all that is drawn, at `now` of performance.now(), so that it is of one moment. */
  read(now) {
    const { view, client, symbol, depth } = this;
    const [tickSize, lotSize] = [view?.tickSize ?? UNIT, view?.lotSize ?? UNIT];
    return {
      ...this.#read(),
      symbol,
      depth,
      tick: parsed(tickSize),
      lot: parsed(lotSize),
      sizes: `${tickSize} ${lotSize}`, // what prices and quantities mean: those of other sizes cannot be compared
      agoMs: this.#sinceMs === null ? null : now - this.#sinceMs,
      standing: standingOf({
        connection: client?.state ?? "open",
        lost: this.#lost,
        retryInMs: this.#retryAtMs - now,
        silent: this.#isSilent(now),
        view,
        refusal: this.#refusal,
        barred: this.#barred(),
        paused: this.#isPaused(),
        waking: this.#arrivedMs < this.#wokeMs && now < this.#wokeMs + CATCH_UP_MS,
      }),
    };
  }

  /** The levels, best first: the same lists for as long as the book is the same. */
  #read() {
    const book = this.view?.book;
    if (book && (book.changes !== this.#changes || book.seq !== this.#shown.seq)) {
      this.#changes = book.changes;
      const { seq, ts, digest } = book;
      this.#shown = { seq, ts, digest, bids: book.best("bids"), asks: book.best("asks") };
    }
    return this.#shown;
  }

  /**
   * Whether the connection is open, but so much as a heartbeat is overdue. One of the clocks may stand still while a
   * machine sleeps, so the longer time counts.
   */
  #isSilent(now) {
    const { client } = this;
    if (client?.state !== "open") {
      this.#heard.bytes = -1;
      return false;
    }
    if (client.bytes !== this.#heard.bytes) this.#heard = { bytes: client.bytes, ticksMs: now, wallMs: Date.now() };
    const silentMs = Math.max(now - this.#heard.ticksMs, Date.now() - this.#heard.wallMs);
    return silentMs > HEARTBEATS_LATE * (client.welcome?.heartbeat_ms ?? HEARTBEAT_MS) + LATE_MS;
  }

  #open() {
    const client = this.#connect();
    this.#lost = null;
    let problem = "";
    client.addEventListener("update", ({ detail }) => this.#updated(detail));
    client.addEventListener("problem", ({ detail: { text } }) => {
      problem = text;
      if (this.view?.state === "removed") this.#refusal = sentence(text); // of this symbol: its subscription is over
    });
    client.addEventListener("removed", ({ detail: { symbol, reason } }) => {
      if (symbol === this.symbol && reason === "limit") this.#refusal = sentence(problem); // it said which limit
    });
    client.addEventListener("state", ({ detail }) => this.#connection(detail));
    return client;
  }

  /**
   * A delta that follows on another message was just made: it shows the lag. A snapshot, and what a resumed book
   * missed, may have been made long ago. That is its age, as far as this clock and the gateway's agree.
   */
  #updated({ view, message }) {
    if (view !== this.view) return;
    const agoMs = Math.max(Date.now() - message.ts / 1000, 0);
    const fresh = this.#follows && message.type === "delta";
    if (fresh) {
      this.lagMs = agoMs;
      this.sourceMs = Number.isFinite(message.event_ts) ? Date.now() - message.event_ts / 1000 : null;
    }
    this.because = message.because ?? this.because;
    this.#arrivedMs = performance.now();
    this.#sinceMs = this.#arrivedMs - (fresh ? 0 : agoMs);
    this.#follows = true;
  }

  #connection({ state, reason, retryMs }) {
    if (this.#leaving && state !== "connecting") {
      this.close();
      return;
    }
    this.#follows = false;
    if (state === "open") this.#lost = null;
    if (state === "waiting" || state === "ended") {
      this.#lost = reason;
      this.#retryAtMs = performance.now() + retryMs;
      this.lagMs = this.sourceMs = null;
    }
  }
}
