import { amount, decimal, duration, half, parsed } from "./format.js";
import { Ladder, setText } from "./ladder.js";

const STATE_TEXT = { connecting: "connecting", waiting: "reconnecting", ended: "ended" };

/** One connection on the page: its state, its figures and its ladder. */
export class Pane {
  #lagMs = null;

  /** `isPaused` returns whether the user paused the connection's link. */
  constructor(section, client, isPaused = () => false) {
    this.section = section;
    this.client = client;
    this.isPaused = isPaused;
    section.querySelector("h2").after(document.getElementById("connection").content.cloneNode(true));
    this.badge = section.querySelector(".state");
    this.figures = Object.fromEntries(
      [...section.querySelectorAll("[data-name]")].map((element) => [element.dataset.name, element]),
    );
    this.ladder = new Ladder(section.querySelector(".ladder"));
    client.addEventListener("update", ({ detail: { message } }) => {
      this.#lagMs = Date.now() - message.ts / 1000;
    });
    this.follow(null);
  }

  /** Show `view` from now on. */
  follow(view) {
    this.view = view;
    this.#lagMs = null;
  }

  /** Read the view's levels, best first, and its sizes, for display. */
  read() {
    const { book, tickSize, lotSize } = this.view;
    const levels = { bids: book.best("bids"), asks: book.best("asks") };
    return { book, levels, sizes: { tick: parsed(tickSize), lot: parsed(lotSize) } };
  }

  /** Draw the result of `read`, so that figures and rows show the same state. */
  draw({ book, levels, sizes }, differing) {
    this.#state();
    this.#figures(book);
    this.ladder.draw(levels, sizes, differing);
    Object.assign(this.section.dataset, { symbol: this.view.symbol, seq: book.seq, digest: book.digest });
  }

  #state() {
    const state = this.client.state === "open" ? this.view.state : this.client.state;
    const shown = this.isPaused() && this.client.state === "open" ? "paused" : state;
    setText(this.badge, STATE_TEXT[shown] ?? (this.view.book.seq ? shown : "waiting for the book"));
    this.badge.dataset.state = shown;
    this.badge.title = (shown === "stale" && this.view.staleReason) || "";
  }

  #figures(book) {
    const count = this.client.counters;
    const shown = {
      seq: book.seq ? String(book.seq) : "–",
      lag: this.#lagMs === null ? "–" : duration(this.#lagMs),
      messages: `${count.snapshots + count.deltas} (${count.snapshots} full)`,
      merged: String(count.merged),
      digest: book.seq ? `✓ ${book.digest.toString(16).padStart(8, "0")}` : "–",
      received: amount(count.bytes),
      resyncs: String(count.gaps + count.mismatches),
      reconnects: String(count.reconnects),
    };
    for (const [name, text] of Object.entries(shown)) setText(this.figures[name], text);
  }
}

/** Mid and spread of a book as text, "–" if a side is empty. */
export function quote({ levels, sizes }) {
  const [bid, ask] = [levels.bids[0], levels.asks[0]];
  if (!bid || !ask) return { mid: "–", spread: "–" };
  return { mid: decimal(bid[0] + ask[0], half(sizes.tick)), spread: decimal(ask[0] - bid[0], sizes.tick) };
}
