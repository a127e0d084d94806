import { amount, duration } from "../format.js";
import { setText } from "./draw.js";

const RATE_MS = 1000;

/** The figures of a connection, in the elements of a section that name them by `data-name`. */
export class Figures {
  #elements;
  #rate = "–";
  #counted = null; // { at, messages, bytes } when the rate was last computed

  constructor(section) {
    this.#elements = [...section.querySelectorAll("[data-name]")];
  }

  /** Draw the figures of `feed` at `now` (ms), with `reading`, which was read from it. */
  draw(feed, reading, now) {
    const texts = this.#texts(feed, reading, now);
    for (const element of this.#elements) setText(element, texts[element.dataset.name] ?? "–");
  }

  #texts({ client, lagMs, sourceMs, because, view }, { seq, digest, standing, agoMs }, now) {
    if (!client) return {};
    const count = client.counters;
    const messages = count.snapshots + count.deltas;
    const live = standing.state === "live";
    return {
      seq: seq ? String(seq) : "–",
      lag: lagMs === null || !live ? "–" : duration(lagMs),
      source: sourceMs === null || !live ? "–" : duration(sourceMs),
      ago: agoMs === null ? "–" : duration(Math.max(agoMs, 0)),
      messages: `${messages} (${count.snapshots} full)`,
      merged: because ? `${count.merged} (${because})` : String(count.merged),
      digest: seq ? `✓ ${digest.toString(16).padStart(8, "0")}` : "–",
      received: amount(count.bytes),
      rate: this.#rateOf(messages, count.bytes, now),
      resyncs: String(count.gaps + count.mismatches),
      reconnects: String(count.reconnects),
      session: client.welcome?.session ?? "–",
      tick: view?.sizes ? view.tickSize : "–",
      lot: view?.sizes ? view.lotSize : "–",
    };
  }

  /** Messages and bytes per second, of the last full second. */
  #rateOf(messages, bytes, now) {
    const last = this.#counted;
    if (last && now - last.at < RATE_MS) return this.#rate;
    if (last) {
      const perSecond = (count) => Math.max(Math.round((count * 1000) / (now - last.at)), 0); // a new client counts anew
      this.#rate = `${perSecond(messages - last.messages)}/s, ${amount(perSecond(bytes - last.bytes))}/s`;
    }
    this.#counted = { at: now, messages, bytes };
    return this.#rate;
  }
}
