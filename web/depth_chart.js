import { Plot, nice, ticks } from "./chart.js";
import { decimal } from "./format.js";

const FINE = [1, 1.5, 2, 3, 4, 6, 8, 10];
const SHRINK = 0.6;

/** Cumulative volume by price: areas of the direct connection's book, dashed lines of the slow one's. */
export class DepthChart {
  constructor(svg) {
    this.plot = new Plot(svg, ["bid", "ask", "slow bid", "slow ask"]);
    this.reset();
  }

  /** Reset the scales, because another book will be shown. */
  reset() {
    this.reach = 0;
    this.most = 0;
  }

  draw(direct, slow, { tick, lot }) {
    const [bid, ask] = [direct.bids[0], direct.asks[0]];
    if (!bid || !ask) return;
    const mid = (bid[0] + ask[0]) / 2;
    const [bids, asks, slowBids, slowAsks] = [direct.bids, direct.asks, slow.bids, slow.asks].map(cumulated);
    this.#scale(
      Math.max(mid - bids.at(-1)[0], asks.at(-1)[0] - mid, 1),
      Math.max(...[bids, asks, slowBids, slowAsks].map((sums) => sums.at(-1)?.[1] ?? 1)),
    );
    this.#axes(mid, tick, lot);
    const point = ([price, sum]) => [clamp(0.5 + (price - mid) / (2 * this.reach)), Math.min(sum / this.most, 1)];
    this.plot.steps("bid", outward(bids).map(point), true);
    this.plot.steps("ask", outward(asks).map(point), true);
    this.plot.steps("slow bid", outward(slowBids).map(point));
    this.plot.steps("slow ask", outward(slowAsks).map(point));
  }

  /** Scales grow at once but shrink only by large steps, so that the picture is steady. */
  #scale(distance, volume) {
    const reach = nice(distance, FINE);
    const most = nice(volume, FINE);
    if (reach > this.reach || reach < this.reach * SHRINK) this.reach = reach;
    if (most > this.most || most < this.most * SHRINK) this.most = most;
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
