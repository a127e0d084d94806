/**
 * The Depthcast client for JavaScript: order books that stay correct through gaps, slow links and lost connections.
 *
 *     import { Client } from "depthcast";
 *
 *     const client = new Client("http://127.0.0.1:8080");
 *     client.addEventListener("update", ({ detail: { view } }) => {
 *       console.log(view.symbol, view.book.seq, view.book.best("bids", 1), view.book.best("asks", 1));
 *     });
 *     client.subscribe("BTC-USD", { depth: 25 });
 *
 * It speaks docs/protocol.md and needs only a WebSocket. It checks every snapshot and delta against its digest. After a
 * gap or a mismatch it subscribes again. After a lost connection, and while there is no gateway, it connects again, with
 * growing, jittered waits, and resumes its books. Until then the books stay readable and are marked stale. Whatever the
 * gateway or the network does, it reports events and throws nothing.
 *
 * Prices are integer ticks and quantities integer lots; `decimal` makes text of them.
 *
 * Events (all `CustomEvent`):
 *
 * | event     | detail                           | when                                                            |
 * | --------- | -------------------------------- | --------------------------------------------------------------- |
 * | `update`  | `{view, message}`                | a snapshot or delta was applied and its digest is correct       |
 * | `status`  | `{view}`                         | `view.state` may have changed: "live", "stale" or "removed"     |
 * | `removed` | `{symbol, reason}`               | the gateway ended a subscription                                |
 * | `problem` | `{code, text, symbol}`           | a request was refused, or a message made no sense (bad_message) |
 * | `state`   | `{state, code, reason, retryMs}` | of the connection: "connecting", "open", "waiting" for          |
 * |           |                                  | `retryMs` to try again, "idle" until the next subscription,     |
 * |           |                                  | "ended"                                                         |
 * | `token`   | `{expiring, expiresMs}`          | the gateway took a token, or says that it is about to expire    |
 */
import { Backoff } from "./backoff.js";
import { AT_ONCE, LOST, NEVER, NORMAL, OVERLOADED, UNAUTHORIZED, UNUSED, WITH_BACKOFF, reconnect } from "./close_codes.js";
import { json } from "./encoding.js";
import { check, endpoint } from "./options.js";
import { Session } from "./session.js";
import { ConnectionEnded, updatesOf } from "./updates.js";

export { Backoff } from "./backoff.js";
export { Book, Outcome, difference } from "./book.js";
export { crc32, digestOf, weight } from "./digest.js";
export { json } from "./encoding.js";
export { decimal, parsed } from "./format.js";
export { Session, View } from "./session.js";
export { Top } from "./top.js";
export { ConnectionEnded } from "./updates.js";

const HEARTBEAT_MS = 5000;
const HEARTBEAT_LEAST_MS = 1000;
const HEARTBEATS_MISSED = 3;
const WATCH_MS = 1000;
const IDLE = "once there is a subscription";
const PACED_WINDOW = 64;

/** Some WebSockets never report the end of a connection that failed; this long after the error it counts as lost. */
const CLOSE_AFTER_ERROR_MS = 100;

/** The id of messages that present a token: other ids are numbers. */
const AUTH_ID = "token";

const NO_TOKEN = "no token could be had";

/** Wait before subscriptions are repeated that the gateway refused as too many at a time, and before another token. */
const ASK_AGAIN_MS = 1000;

/** Messages that do not count as success: an overloaded gateway sends a greeting and closes again. */
const BEFORE_SERVICE = new Set(["welcome", "authenticated", "expiring", "error"]);

/** So many connections in a row that end for their token, however fresh, end the client. */
const REFUSALS_MAX = 2;

/** A link that passes every message on at once; slow.js has one that delays them. */
const DIRECT = { deliver: (_bytes, pass) => pass(), reset() {} };

/**
 * A `pace` that gives credit back when the browser draws. It draws nothing in a hidden tab, so there the gateway
 * stops sending once the window is used up, and conflates until the tab is seen again. Where nothing is drawn, as in
 * Node, credit is given back at once.
 */
export function animationFrame(pay) {
  if (typeof requestAnimationFrame === "function") requestAnimationFrame(() => pay());
  else pay();
}

export class Client extends EventTarget {
  #url;
  #WebSocket;
  #encoding;
  #backoff;
  #connectTimeoutMs;
  #link;
  #session;
  #socket = null;
  #timer = 0; // before the next attempt
  #deadline = 0; // of the handshake, and after an error
  #watchdog = 0;
  #askAgain = 0;
  #heard = { ticksMs: 0, wallMs: 0 }; // when something came last, by two clocks
  #closing = false;
  #failure = ""; // text of the connection's error
  #boundMs = 0; // of the waits when the connection was begun
  #token;
  #shown = null; // the token that was presented last
  #accepted = false; // whether the gateway took one on this connection
  #tokenTimer = 0; // before another one is presented
  #denied = false; // whether the last connection ended for its token
  #fresh = null; // one that was fetched before connecting
  #refusals = 0; // connections that ended for their token, since one was accepted

  /**
   * Connects at once, and again whenever the connection is lost, until `close()`. A gateway ends connections on which
   * nothing is subscribed for long; then the next subscription connects again. Throws a TypeError or a RangeError
   * for options that make no sense, and where there is no WebSocket.
   *
   * @param {string|URL} url Address of the gateway, as http(s) or ws(s); `v1/ws` is added to its path.
   * @param {object} options
   * @param {number} options.creditWindow Maximum number of snapshots and deltas in flight. 0 leaves the limit to TCP.
   *   A browser reads its sockets even if the page does not keep up, so a page that can be slow should set a window.
   * @param {function(function(): void): void} options.pace Says when credit is given back, by calling the function that
   *   it gets, such as `animationFrame`; without it, after each half of the window. With it, the window is 64 by default.
   * @param {[number, number]} options.backoffMs First and longest wait before connecting again.
   * @param {number} options.connectTimeoutMs A connection that is not open after this long counts as lost.
   * @param {object} options.encoding `json`, or `msgpack` of msgpack.js.
   * @param {{deliver: function(number, function(): void): void, reset: function(): void}} options.link Delays
   *   received messages, keeping their order: `deliver(bytes, pass)` calls `pass` when the message may go on.
   * @param {string|function(?string): string|Promise<string>} options.token What a gateway that wants one is shown. A
   *   function is called for each connection, and before the token expires; it gets the token that it has to replace,
   *   because that is about to expire or was refused, or null.
   * @param {typeof WebSocket} options.WebSocket For tests, and if there is no global one.
   */
  constructor(url, {
    pace = null, creditWindow = pace ? PACED_WINDOW : 0, backoffMs = [200, 10_000], connectTimeoutMs = 10_000,
    encoding = json, link = DIRECT, token = null, WebSocket = globalThis.WebSocket,
  } = {}) {
    super();
    check({ pace, creditWindow, connectTimeoutMs, encoding, token, WebSocket });
    this.#url = endpoint(url);
    this.#WebSocket = WebSocket;
    this.#encoding = encoding;
    this.#backoff = new Backoff(...backoffMs);
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#link = link;
    this.#token = token;
    this.#session = new Session({
      creditWindow,
      pace,
      send: (message) => this.#send(message),
      tell: (kind, detail) => this.dispatchEvent(new CustomEvent(kind, { detail })),
    });
    this.state = "connecting";
    this.ending = null; // why the gateway ended the connection for good, a `ConnectionEnded`
    this.reconnects = 0;
    this.bytes = 0;
    this.#connect();
  }

  /** Counts so far: snapshots, deltas, merged, ignored, gaps, mismatches, resumed, reconnects, bytes. */
  get counters() {
    return { ...this.#session.counters, reconnects: this.reconnects, bytes: this.bytes };
  }

  /** The gateway's `welcome`, with its limits; null before the first connection. */
  get welcome() {
    return this.#session.welcome;
  }

  /** The views by symbol; only to be read. */
  get views() {
    return this.#session.views;
  }

  /** The view of a subscribed symbol, or undefined. */
  view(symbol) {
    return this.#session.views.get(symbol);
  }

  /**
   * Subscribe, or replace subscriptions, to a symbol, a list of symbols, or "*": all symbols, also those listed later.
   * Returns the view, the list of views, or for "*" the map of all views; each is empty until its first `update`.
   */
  subscribe(symbols, options) {
    const views = this.#session.subscribe(symbols, options);
    if (this.state === "idle" && this.#session.wanted) this.#connectAgain();
    return views;
  }

  /** End the subscription to a symbol, to each of a list of symbols, or by "*" to everything. */
  unsubscribe(symbols) {
    this.#session.unsubscribe(symbols);
  }

  /** Present another token now, on the open connection, if `options.token` is a function: it is called with null. */
  refreshToken() {
    this.#replace(null);
  }

  /** Iterate over views as they change; see `updatesOf`. */
  [Symbol.asyncIterator]() {
    return updatesOf(this);
  }

  /** End the connection for good. */
  close() {
    if (this.state === "ended" || this.#closing) return; // by a listener to what closing reports
    this.#closing = true;
    this.#lose(NORMAL, "closed by the user");
  }

  async #connectAgain() {
    if (this.#denied && !(await this.#renew())) return;
    this.reconnects += 1;
    this.#enter("connecting");
    if (this.state === "connecting") this.#connect(); // no listener has closed the client
  }

  /**
   * Have another token in place of one that was refused, before the gateway is asked again. Whoever gives it may take
   * their time, so it is not known when the client connects. Returns whether it may do so now.
   */
  async #renew() {
    const { state } = this;
    const token = await this.#fetch(this.#shown);
    if (this.state !== state) return false; // closed meanwhile
    if (token === null) {
      this.#lose(LOST, NO_TOKEN, WITH_BACKOFF);
      return false;
    }
    this.#denied = false;
    this.#fresh = token;
    return true;
  }

  #connect() {
    this.#heard = { ticksMs: performance.now(), wallMs: Date.now() };
    this.#failure = "";
    this.#boundMs = this.#backoff.boundMs;
    let socket;
    try {
      socket = new this.#WebSocket(this.#url, this.#encoding.subprotocol);
    } catch (error) {
      this.#loseSoon(0, null, textOf(error), WITH_BACKOFF);
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = ({ data }) => this.#arrived(socket, data);
    socket.onerror = (event) => {
      this.#failure = textOf(event);
      this.#loseSoon(CLOSE_AFTER_ERROR_MS, socket, this.#failure);
    };
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    this.#watchdog = setInterval(() => this.#watch(), WATCH_MS);
    this.#loseSoon(this.#connectTimeoutMs, socket, `no connection within ${this.#connectTimeoutMs} ms`);
  }

  /** Take the connection for lost after `ms`, unless something else happens before. */
  #loseSoon(ms, socket, reason, decision) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => {
      if (this.#socket === socket) this.#lose(LOST, reason, decision);
    }, ms);
  }

  #opened(socket) {
    if (!this.#failure) clearTimeout(this.#deadline);
    this.#enter("open");
    // Who has a token first hears whether the gateway wants it.
    if (this.#socket === socket && this.#token === null) this.#session.opened(); // no listener has closed the client
  }

  /** The socket closed. After an error the code is not the gateway's word, so it ends nothing for good. */
  #ended(code, reason) {
    let decision = reconnect(code);
    if (this.#failure && decision === NEVER) decision = WITH_BACKOFF;
    // The gateway has waited for a subscription in vain; one that is wanted by now was on its way.
    if (code === UNUSED && !this.#session.served) decision = this.#session.wanted ? WITH_BACKOFF : IDLE;
    if (code === UNAUTHORIZED && this.#refreshes) {
      this.#denied = true;
      if ((this.#refusals += 1) < REFUSALS_MAX) decision = WITH_BACKOFF;
    }
    this.#lose(code, reason || this.#failure, decision);
  }

  #send(message) {
    const socket = this.#socket;
    if (!socket) return;
    try {
      socket.send(this.#encoding.encode(message));
    } catch (error) {
      this.#loseSoon(0, socket, textOf(error));
    }
  }

  #arrived(socket, data) {
    this.#heard = { ticksMs: performance.now(), wallMs: Date.now() };
    const bytes = typeof data === "string" ? data.length : data?.byteLength ?? 0; // text is ASCII
    this.bytes += bytes;
    let message;
    try {
      message = this.#encoding.decode(data);
    } catch (error) {
      this.#refuse("bad_message", textOf(error));
      return;
    }
    if (message?.type === "heartbeat") {
      this.#backoff.reset();
      return;
    }
    this.#link.deliver(bytes, () => {
      if (this.#socket === socket) this.#take(message);
    });
  }

  #take(message) {
    if (!this.#session.receive(message)) {
      this.#loseBad("the gateway sent a message without sense");
      return;
    }
    if (!BEFORE_SERVICE.has(message.type)) this.#backoff.reset();
    this.#heedToken(message);
    if (this.#session.tryLater) this.#lose(OVERLOADED, "the gateway knows no instruments yet");
    if (this.#session.postponed && !this.#askAgain) {
      this.#askAgain = setTimeout(() => {
        this.#askAgain = 0;
        this.#session.askAgain();
      }, ASK_AGAIN_MS);
    }
  }

  get #refreshes() {
    return typeof this.#token === "function";
  }

  /** Present a token when the gateway wants one, or another one before it expires. */
  #heedToken({ type, id, code, message, expires }) {
    const socket = this.#socket;
    if (!socket || this.#token === null) return;
    if (type === "authenticated") {
      this.#refusals = 0;
      this.#accepted = true;
    }
    if (type === "authenticated" || type === "expiring") {
      const expiresMs = Number.isFinite(expires) ? expires / 1000 : null;
      this.dispatchEvent(new CustomEvent("token", { detail: { expiring: type === "expiring", expiresMs } }));
    }
    if (type === "expiring") this.#replace(this.#shown);
    if (type === "error" && id === AUTH_ID) this.#notTaken(code, message);
    if (type !== "welcome") return;
    const begin = () => this.#session.opened();
    if (this.welcome.auth !== "required") begin();
    else this.#present(socket, null, begin, () => this.#lose(LOST, NO_TOKEN, WITH_BACKOFF));
  }

  /** The gateway refused a token, or could not check it. After the first one of a connection it serves nothing. */
  #notTaken(code, text) {
    if (!this.#accepted) {
      if (code === "unavailable") this.#lose(OVERLOADED, text, WITH_BACKOFF); // others end the connection
      return;
    }
    this.#replaceLater(code === "unauthorized" ? this.#shown : null);
  }

  #replaceLater(ending) {
    clearTimeout(this.#tokenTimer);
    this.#tokenTimer = setTimeout(() => this.#replace(ending), ASK_AGAIN_MS);
  }

  /** Present another token on the connection, which goes on whether there is one or not. */
  #replace(ending) {
    if (!this.#socket || !this.#accepted || !this.#refreshes) return;
    this.#present(this.#socket, ending, () => {}, () => this.#replaceLater(ending));
  }

  /** Send a token; `then` and `otherwise` are called while the connection is still the same one. */
  async #present(socket, ending, then, otherwise) {
    let token = this.#fresh;
    this.#fresh = null;
    token ??= this.#refreshes ? await this.#fetch(ending) : this.#token;
    if (this.#socket !== socket) return;
    if (token === null) {
      otherwise();
      return;
    }
    this.#shown = token;
    this.#send({ op: "auth", id: AUTH_ID, token });
    then();
  }

  /** A token of the user's function; null if it gives none. */
  async #fetch(ending) {
    try {
      const token = await this.#token(ending);
      return typeof token === "string" && token ? token : null;
    } catch {
      return null; // what it throws may have a secret in it
    }
  }

  #refuse(code, text) {
    this.dispatchEvent(new CustomEvent("problem", { detail: { code, text, symbol: undefined } }));
    this.#loseBad(text);
  }

  /** After a message without sense nothing is certain any more: connect again, as after an attempt without success. */
  #loseBad(reason) {
    if (!this.#socket) return; // closed by a listener
    this.#backoff.boundMs = this.#boundMs;
    this.#lose(LOST, reason, WITH_BACKOFF);
  }

  /**
   * A connection without even heartbeats counts as dead, whatever the system says. While a machine sleeps one of the
   * clocks may stand still, and the other one may be set: the longer time counts.
   */
  #watch() {
    const heartbeatMs = Math.max(this.welcome?.heartbeat_ms ?? HEARTBEAT_MS, HEARTBEAT_LEAST_MS);
    const silentMs = Math.max(performance.now() - this.#heard.ticksMs, Date.now() - this.#heard.wallMs);
    if (silentMs > heartbeatMs * HEARTBEATS_MISSED) this.#lose(LOST, "nothing came any more");
  }

  #lose(code, reason, decision = reconnect(code)) {
    const socket = this.#socket;
    this.#socket = null;
    for (const timer of [this.#timer, this.#deadline, this.#askAgain, this.#tokenTimer]) clearTimeout(timer);
    clearInterval(this.#watchdog);
    this.#askAgain = 0;
    this.#fresh = null;
    this.#accepted = false;
    if (socket) discard(socket);
    this.#link.reset();
    this.#session.lost();
    if (this.state === "ended") return; // a listener has closed the client
    if (decision === IDLE) {
      this.#enter("idle", code, reason);
      return;
    }
    if (decision === NEVER) {
      if (!this.#closing) this.ending = new ConnectionEnded(code, reason);
      this.#enter("ended", code, reason);
      return;
    }
    // Before the state is reported, because a listener may close the client.
    const retryMs = (decision === AT_ONCE ? 0 : this.#backoff.firstMs) + this.#backoff.nextMs();
    this.#timer = setTimeout(() => this.#connectAgain(), retryMs);
    this.#enter("waiting", code, reason, retryMs);
  }

  #enter(state, code = 0, reason = "", retryMs = 0) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, code, reason, retryMs } }));
  }
}

/** Let go of a socket in any state. Its error is still listened to: ws would throw one that nobody listens to. */
function discard(socket) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.onerror = () => {};
  try {
    socket.close();
  } catch {
    // It is as good as closed.
  }
}

/** What an error, or the event of one, says. */
function textOf(error) {
  return error?.message || error?.error?.message || error?.error?.code || "the connection failed";
}
