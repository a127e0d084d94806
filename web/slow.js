/**
 * A slow link for a `Client`: messages wait their turn, each for `delayMs` and for the time its bytes take.
 *
 * A browser reads its sockets even if the page does not keep up, so slowness in the page alone would only grow a queue
 * here. A credit window makes it real: the gateway gets credit back when a message has come through this link,
 * holds the next one until then, and conflates.
 */
export class SlowLink {
  #queue = [];
  #timer = 0;
  #begunMs = 0;
  #delayMs = 0;
  #bytesPerSecond = Infinity;
  #paused = false;

  get paused() {
    return this.#paused;
  }

  /** Number of waiting messages; with a credit window, at most the window plus messages that cost no credit. */
  get waiting() {
    return this.#queue.length;
  }

  /** Change `delayMs`, `bytesPerSecond` or `paused`; this also applies to the message in flight. */
  set({ delayMs = this.#delayMs, bytesPerSecond = this.#bytesPerSecond, paused = this.#paused }) {
    if (this.#paused && !paused) this.#begunMs = performance.now();
    this.#delayMs = delayMs;
    this.#bytesPerSecond = bytesPerSecond;
    this.#paused = paused;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#next();
  }

  /** Take a message of `bytes` bytes; calls `pass` when it has come through. */
  deliver(bytes, pass) {
    if (!this.#queue.length) this.#begunMs = performance.now();
    this.#queue.push({ bytes, pass });
    this.#next();
  }

  /** Drop all messages in flight, because the connection has ended. */
  reset() {
    this.#queue = [];
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #next() {
    if (this.#timer || this.#paused || !this.#queue.length) return;
    const costMs = this.#delayMs + (this.#queue[0].bytes / this.#bytesPerSecond) * 1000;
    const leftMs = this.#begunMs + costMs - performance.now();
    if (leftMs > 0) this.#timer = setTimeout(() => this.#through(), leftMs);
    else this.#through();
  }

  #through() {
    this.#timer = 0;
    const { pass } = this.#queue.shift();
    this.#begunMs = performance.now();
    pass();
    this.#next();
  }
}
