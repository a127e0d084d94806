import { Plot, ticks } from "./chart.js";
import { decimal, half } from "./format.js";

const SPAN_MS = 60_000;
const SAMPLES_MAX = 1200;

/** The mid prices of both connections over the last minute. Twice the mid is always an integer: no rounding. */
export class MidChart {
  constructor(svg) {
    this.plot = new Plot(svg, ["direct", "slow"]);
    this.reset();
  }

  /** Reset, because another book will be shown. */
  reset() {
    this.series = { direct: [], slow: [] };
  }

  /** Record the state at `now` (ms); the `levels` of either connection may be empty. */
  sample(now, direct, slow) {
    for (const [name, levels] of Object.entries({ direct, slow })) {
      const points = this.series[name];
      if (levels.bids.length && levels.asks.length) points.push([now, levels.bids[0][0] + levels.asks[0][0]]);
      while (points.length > SAMPLES_MAX || (points.length > 1 && points[1][0] < now - SPAN_MS)) points.shift();
    }
  }

  draw(now, { tick }) {
    const all = [...this.series.direct, ...this.series.slow].map(([, twice]) => twice);
    if (!all.length) return;
    const [low, high] = padded(Math.min(...all), Math.max(...all));
    const y = (twice) => (twice - low) / (high - low);
    const rows = ticks(low, high, 4).map((twice) => [y(twice), decimal(Math.round(twice), half(tick))]);
    this.plot.axes(rows, [[0, "−60 s", "start"], [0.5, "−30 s"], [1, "now", "end"]]);
    const x = (time) => Math.max(1 - (now - time) / SPAN_MS, 0);
    for (const [name, points] of Object.entries(this.series)) {
      const drawn = points.map(([time, twice]) => [x(time), y(twice)]);
      if (drawn.length) drawn.push([1, drawn.at(-1)[1]]);
      this.plot.steps(name, drawn);
    }
  }
}

function padded(low, high) {
  const room = Math.max((high - low) * 0.08, 2);
  return [low - room, high + room];
}
