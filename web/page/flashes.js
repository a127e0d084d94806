/** Which levels have just changed, and which way. Pure; times are in milliseconds. */

const FLASH_MS = 350;

/** Compares what is drawn now with what was drawn before. */
export class Flashes {
  #before = { bids: null, asks: null };
  #changed = { bids: new Map(), asks: new Map() }; // price → { at, way }

  /** Begin anew, because another book will be shown: its first levels are no change. */
  reset() {
    this.#before = { bids: null, asks: null };
    this.#changed = { bids: new Map(), asks: new Map() };
  }

  /** Take what is drawn at `now`: `levels` of "bids" or "asks", best first. */
  take(side, levels, now) {
    const before = this.#before[side];
    const changed = this.#changed[side];
    for (const [price, { at }] of changed) if (now - at >= FLASH_MS) changed.delete(price);
    if (before?.levels === levels) return;
    if (before?.levels.length) {
      const worst = before.levels.at(-1)[0];
      for (const [price, quantity] of levels) {
        // A level beyond the last one was there before, outside of the view.
        const isNew = side === "bids" ? price > worst : price < worst;
        const was = before.held.get(price) ?? (isNew ? 0 : quantity);
        if (quantity !== was) changed.set(price, { at: now, way: quantity > was ? "up" : "down" });
      }
    }
    this.#before[side] = { levels, held: new Map(levels) };
  }

  /** "up" or "down" for a price that changed a moment ago, else "". */
  of(side, price) {
    return this.#changed[side].get(price)?.way ?? "";
  }
}
