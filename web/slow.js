/**
 * A slow link for a `Client`: messages wait their turn, each for `delayMs` and for the time its bytes take.
 *
 * A browser reads its sockets whether the page keeps up or not, so slowness inside the page alone would only grow a queue
 * here. With a credit window it is real: credit goes back to the gateway when a message has come through this link, so
 * until then the gateway holds the next one, and conflates.
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

  /** Messages that wait here; with a credit window, the window and what costs no credit at most. */
  get waiting() {
    return this.#queue.length;
  }

  /** Change `delayMs`, `bytesPerSecond` or `paused`; it holds for the message under way, too. */
  set({ delayMs = this.#delayMs, bytesPerSecond = this.#bytesPerSecond, paused = this.#paused }) {
    if (this.#paused && !paused) this.#begunMs = performance.now();
    this.#delayMs = delayMs;
    this.#bytesPerSecond = bytesPerSecond;
    this.#paused = paused;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#next();
  }

  /** Take a message of so many bytes; `pass` is called when it has come through. */
  deliver(bytes, pass) {
    if (!this.#queue.length) this.#begunMs = performance.now();
    this.#queue.push({ bytes, pass });
    this.#next();
  }

  /** Forget what is on its way: the connection has ended. */
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
