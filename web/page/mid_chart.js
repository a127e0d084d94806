import { decimal, half } from "../format.js";
import { Plot, padded, ticks } from "./chart.js";
import { History, twiceMid } from "./history.js";

const SPAN_MS = 60_000;
const STEP_MS = 100;

/** The mid prices of both connections over the last minute. Lines end where a book was not known to be current. */
export class MidChart {
  constructor(svg) {
    this.plot = new Plot(svg, ["direct", "slow"]);
    this.series = { direct: new History(SPAN_MS, STEP_MS), slow: new History(SPAN_MS, STEP_MS) };
  }

  /** Reset, because another book will be shown. */
  reset() {
    for (const history of Object.values(this.series)) history.reset();
    this.plot.clear();
  }

  /** Say in which `sizes` prices are from now on; those in others are forgotten. */
  begin(sizes) {
    for (const history of Object.values(this.series)) history.begin(sizes);
  }

  /** Record what connection `name` shows at `now` (ms); `current`: whether it is known to be the book of this moment. */
  sample(name, now, reading, current) {
    const history = this.series[name];
    const twice = twiceMid(reading);
    if (current && twice !== null) history.record(now, twice);
    else history.forget(now);
  }

  /** Connection `name` was not current any more after `at`. */
  cut(name, at) {
    this.series[name].cut(at);
  }

  draw(now, tick) {
    const all = Object.values(this.series).flatMap(({ samples }) => samples.map(({ value }) => value));
    if (!all.length) {
      this.plot.clear();
      return;
    }
    const [low, high] = padded(Math.min(...all), Math.max(...all));
    const y = (twice) => (twice - low) / (high - low);
    const rows = ticks(low, high, 4).map((twice) => [y(twice), decimal(Math.round(twice), half(tick))]);
    this.plot.axes(rows, [[0, "−60 s", "start"], [0.5, "−30 s"], [1, "now", "end"]]);
    const x = (at) => Math.max(1 - (now - at) / SPAN_MS, 0);
    for (const [name, history] of Object.entries(this.series)) {
      this.plot.runs(name, history.runs.map((run) => run.map(({ at, value }) => [x(at), y(value)])));
    }
  }
}
