/**
 * The Depthcast client for JavaScript: order books that stay correct through gaps, slow links and lost connections.
 *
 *     import { Client } from "./depthcast.js";
 *
 *     const client = new Client("http://127.0.0.1:8080");
 *     client.addEventListener("update", ({ detail: { view } }) => {
 *       console.log(view.symbol, view.book.seq, view.book.best("bids", 1), view.book.best("asks", 1));
 *     });
 *     client.subscribe("BTC-USD", { depth: 25 });
 *
 * It uses the JSON form of docs/protocol.md and needs only a WebSocket. It checks every snapshot and delta against its
 * digest. After a gap or a mismatch it subscribes again. After a lost connection it connects again, with growing,
 * jittered waits, and resumes its books. Until then the books stay readable and are marked stale.
 *
 * Prices are integer ticks and quantities integer lots; `decimal` of format.js makes text of them.
 *
 * Events (all `CustomEvent`):
 *
 * | event     | detail                  | when                                                                     |
 * | --------- | ----------------------- | ------------------------------------------------------------------------ |
 * | `update`  | `{view, message}`       | a snapshot or delta was applied and its digest is correct                |
 * | `status`  | `{view}`                | `view.state` may have changed: "live" or "stale"                         |
 * | `removed` | `{symbol, reason}`      | the gateway ended a subscription                                         |
 * | `problem` | `{code, text, symbol}`  | the gateway refused a request; `symbol` if it concerns one               |
 * | `state`   | `{state, code, reason}` | of the connection: "connecting", "open", "waiting" to try again, "ended" |
 */
import { LOST, NORMAL, OVERLOADED, reconnect } from "./close_codes.js";
import { Session } from "./session.js";

export { Book, Outcome, difference } from "./book.js";
export { crc32, digestOf, weight } from "./digest.js";
export { Session, View } from "./session.js";

const HEARTBEAT_MS = 5000;
const HEARTBEATS_MISSED = 3;

/** Messages that do not count as success: an overloaded gateway sends a greeting and closes again. */
const BEFORE_SERVICE = new Set(["welcome", "error"]);

/** A link that passes every message on at once; slow.js has one that delays them. */
const DIRECT = { deliver: (_bytes, pass) => pass(), reset() {} };

export class Client extends EventTarget {
  #url;
  #WebSocket;
  #backoff;
  #link;
  #session;
  #socket = null;
  #timer = 0;
  #closed = false;
  #watchdog = 0;
  #heardMs = 0;

  /**
   * Connects at once, and again whenever the connection is lost, until `close()`.
   *
   * @param {string|URL} url Address of the gateway, as http(s) or ws(s); `v1/ws` is added to its path.
   * @param {object} options
   * @param {number} options.creditWindow Maximum number of snapshots and deltas in flight. 0 leaves the limit to TCP.
   *   A browser reads its sockets even if the page does not keep up, so a page that can be slow should set a window.
   * @param {[number, number]} options.backoffMs First and longest wait before connecting again.
   * @param {{deliver: function(number, function(): void): void, reset: function(): void}} options.link Delays
   *   received messages, keeping their order: `deliver(bytes, pass)` calls `pass` when the message may go on.
   * @param {typeof WebSocket} options.WebSocket For tests, and if there is no global one.
   */
  constructor(url, { creditWindow = 0, backoffMs = [200, 10_000], link = DIRECT, WebSocket } = {}) {
    super();
    this.#url = endpoint(url);
    this.#WebSocket = WebSocket ?? globalThis.WebSocket;
    this.#backoff = new Backoff(...backoffMs);
    this.#link = link;
    this.#session = new Session({
      creditWindow,
      send: (message) => this.#socket?.send(JSON.stringify(message)),
      tell: (kind, detail) => this.dispatchEvent(new CustomEvent(kind, { detail })),
    });
    this.state = "connecting";
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

  /** The view of a subscribed symbol, or undefined. */
  view(symbol) {
    return this.#session.views.get(symbol);
  }

  /** Subscribe to a symbol, or replace its subscription; returns its view, empty until the first `update`. */
  subscribe(symbol, { depth = 25, intervalMs = 0 } = {}) {
    return this.#session.subscribe(symbol, { depth, intervalMs });
  }

  /** End a subscription. */
  unsubscribe(symbol) {
    this.#session.unsubscribe(symbol);
  }

  /** End the connection for good. */
  close() {
    if (this.#closed) return; // by a listener to what closing reports
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#lose(NORMAL, "closed by the user");
  }

  #connect() {
    const socket = new this.#WebSocket(this.#url, "depthcast.v1.json");
    this.#socket = socket;
    this.#heardMs = performance.now();
    this.#watchdog = setInterval(() => this.#watch(), HEARTBEAT_MS);
    socket.onopen = () => {
      this.#enter("open");
      this.#session.opened();
    };
    socket.onmessage = ({ data }) => this.#arrived(data);
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
  }

  #arrived(text) {
    this.#heardMs = performance.now();
    this.bytes += text.length; // the messages are ASCII
    const message = JSON.parse(text);
    if (!BEFORE_SERVICE.has(message.type)) this.#backoff.reset();
    if (message.type === "heartbeat") return;
    this.#link.deliver(text.length, () => {
      this.#session.receive(message);
      if (this.#session.tryLater) this.#lose(OVERLOADED, "the gateway knows no instruments yet");
    });
  }

  /** A connection without even heartbeats counts as dead, whatever the system says. */
  #watch() {
    const silentMs = (this.welcome?.heartbeat_ms ?? HEARTBEAT_MS) * HEARTBEATS_MISSED;
    if (performance.now() - this.#heardMs > silentMs) this.#lose(LOST, "nothing came any more");
  }

  #lose(code, reason) {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#watchdog);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#link.reset();
    this.#session.lost();
    if (this.state === "ended") return; // a listener has closed the client
    const decision = reconnect(code);
    if (decision === "never") {
      this.#enter("ended", code, reason);
      return;
    }
    // Before the state is reported, because a listener may close the client.
    this.#timer = setTimeout(() => {
      this.reconnects += 1;
      this.#enter("connecting");
      if (this.state === "connecting") this.#connect();
    }, (decision === "at once" ? 0 : this.#backoff.firstMs) + this.#backoff.nextMs());
    this.#enter("waiting", code, reason);
  }

  #enter(state, code = 0, reason = "") {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, code, reason } }));
  }
}

/** Waits between attempts: doubling, with full jitter, so that clients do not all come back at once. */
export class Backoff {
  constructor(firstMs, mostMs, random = Math.random) {
    this.firstMs = firstMs;
    this.mostMs = mostMs;
    this.random = random;
    this.boundMs = firstMs;
  }

  nextMs() {
    const waitMs = this.boundMs * this.random();
    this.boundMs = Math.min(this.boundMs * 2, this.mostMs);
    return waitMs;
  }

  reset() {
    this.boundMs = this.firstMs;
  }
}

function endpoint(base) {
  const url = new URL(base);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/ws`;
  url.search = url.hash = "";
  return url.href;
}
