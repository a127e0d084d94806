import { decimal } from "../format.js";
import { Plot, nice, ticks } from "./chart.js";
import { setText } from "./draw.js";
import { reachOf } from "./reach.js";

const FINE = [1, 1.5, 2, 3, 4, 6, 8, 10];
const SHRINK = 0.6;
const NONE = { bids: [], asks: [] };

/** Cumulative volume by price: areas of a book, and dashed lines of a second one. */
export class DepthChart {
  #pointerPx = null;

  /** `reading` is the element for the text of what is under the pointer. */
  constructor(svg, reading) {
    this.plot = new Plot(svg, ["bid", "ask", "slow bid", "slow ask", "pointer"]);
    this.reading = reading;
    svg.addEventListener("pointermove", ({ offsetX }) => {
      this.#pointerPx = offsetX;
    });
    svg.addEventListener("pointerleave", () => {
      this.#pointerPx = null;
    });
    this.reset();
  }

  /** Reset the scales, because another book will be shown. */
  reset() {
    this.reach = 0;
    this.most = 0;
    this.plot.clear();
  }

  draw({ bids: bidLevels, asks: askLevels, tick, lot }, second = NONE) {
    const best = [bidLevels[0], askLevels[0]].filter(Boolean).map(([price]) => price);
    if (!best.length) {
      this.reset();
      this.#read("", null);
      return;
    }
    const mid = (best[0] + best.at(-1)) / 2;
    this.reach = steady(this.reach, nice(Math.max(reachOf(mid, bidLevels, askLevels), 1), FINE));
    const [bids, asks] = [bidLevels, askLevels].map(cumulated);
    const sums = [bids, asks, ...[second.bids, second.asks].map(cumulated)];
    const within = sums.map((side) => this.#within(side, mid));
    this.most = steady(this.most, nice(Math.max(...within.map((side) => side.at(-1)?.[1] ?? 1)), FINE));
    this.#axes(mid, tick, lot);
    const point = ([price, sum]) => [clamp(0.5 + (price - mid) / (2 * this.reach)), Math.min(sum / this.most, 1)];
    const shares = within.map((side) => outward(side).map(point));
    this.plot.steps("bid", shares[0], true);
    this.plot.steps("ask", shares[1], true);
    this.plot.steps("slow bid", shares[2]);
    this.plot.steps("slow ask", shares[3]);
    this.#point(mid, bids, asks, tick, lot);
  }

  /** The part of a side that is in the picture: where it goes on, that sum holds up to the edge. */
  #within(sums, mid) {
    const within = sums.filter(([price]) => Math.abs(price - mid) <= this.reach);
    if (!within.length || within.length === sums.length) return within;
    const [price, sum] = within.at(-1);
    return [...within, [price < mid ? mid - this.reach : mid + this.reach, sum]];
  }

  #axes(mid, tick, lot) {
    const rows = ticks(0, this.most, 4).map((sum) => [sum / this.most, decimal(Math.round(sum), lot)]);
    const step = Math.max(Math.round(this.reach * SHRINK), 1);
    const columns = [-step, 0, step].map((away) => {
      const price = Math.round(mid + away);
      return [0.5 + (price - mid) / (2 * this.reach), decimal(price, tick)];
    });
    this.plot.axes(rows, columns);
  }

  /** What is under the pointer: the volume between the best price and there. */
  #point(mid, bids, asks, tick, lot) {
    if (this.#pointerPx === null) {
      this.#read("", null);
      return;
    }
    const share = clamp(this.plot.shareAt(this.#pointerPx));
    const price = mid + (share - 0.5) * 2 * this.reach;
    const isBid = price < mid;
    const within = (isBid ? bids : asks).filter(([at]) => (isBid ? at >= price : at <= price));
    const sum = decimal(within.at(-1)?.[1] ?? 0, lot);
    const limit = decimal(isBid ? Math.ceil(price) : Math.floor(price), tick);
    this.#read(`${sum} ${isBid ? "bid at or above" : "offered at or below"} ${limit}`, share);
  }

  #read(text, share) {
    this.plot.line("pointer", share);
    setText(this.reading, text);
  }
}

/** The end of a scale: it grows at once but shrinks only by large steps, so that the picture is steady. */
function steady(kept, wanted) {
  return wanted > kept || wanted < kept * SHRINK ? wanted : kept;
}

/** Levels, best first, as [price, cumulative volume]. */
function cumulated(levels) {
  let sum = 0;
  return levels.map(([price, quantity]) => [price, (sum += quantity)]);
}

/** Start with zero volume at the best price; steps go outwards from there. */
function outward(sums) {
  return sums.length ? [[sums[0][0], 0], ...sums] : [];
}

function clamp(share) {
  return Math.min(Math.max(share, 0), 1);
}
