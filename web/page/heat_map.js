import { decimal } from "../format.js";
import { Plot, ticks as roundNumbers } from "./chart.js";
import { paint, rangeOf, steady, volumesOf } from "./heat.js";
import { History, twiceMid } from "./history.js";

const STEP_MS = 500;
/** Lengths of the axis of time, each with the texts of its beginning and its middle; the last is what is remembered. */
const SPANS = [
  [60_000, "−1 min", "−30 s"],
  [120_000, "−2 min", "−1 min"],
  [300_000, "−5 min", "−2.5 min"],
];
const SPAN_MS = SPANS.at(-1)[0];
const LEVELS_MAX = 100;

/** Depth over the last minutes, five at most: volume by price and time on a canvas, with the mid price as a line over it. */
export class HeatMap {
  #range = null;
  #drawn = -Infinity;
  #pixels = document.createElement("canvas");

  constructor(canvas, svg) {
    this.canvas = canvas;
    this.plot = new Plot(svg, ["mid"]);
    this.history = new History(SPAN_MS, STEP_MS);
  }

  /** Reset, because another book will be shown. */
  reset() {
    this.history.reset();
    this.#range = null;
    this.#drawn = -Infinity;
    this.plot.clear();
    this.#erase();
  }

  /** Record the book at `now` (ms) if it is `current`. */
  sample(now, { seq, sizes, bids, asks }, current) {
    const { history } = this;
    if (seq) history.begin(sizes); // a new listing has other prices
    if (!current) history.forget(now);
    else if (history.isDue(now)) {
      history.record(now, { bids: bids.slice(0, LEVELS_MAX), asks: asks.slice(0, LEVELS_MAX) });
    }
  }

  /** The book was not current any more after `at`. */
  cut(at) {
    this.history.cut(at);
    this.#drawn = -Infinity;
  }

  /** Draw, once for each step of time. */
  draw(now, tick) {
    if (now - this.#drawn < STEP_MS) return;
    this.#drawn = now;
    const { samples } = this.history;
    const range = steady(this.#range, rangeOf(samples));
    this.#range = range;
    this.#erase();
    if (!range) {
      this.plot.clear();
      return;
    }
    const top = range.low + range.ticks * range.bins;
    const y = (price) => (price - range.low) / (top - range.low);
    const rows = roundNumbers(range.low, top, 6).map((price) => [y(price), decimal(Math.round(price), tick)]);
    const [spanMs, begin, middle] = SPANS.find(([ms]) => now - samples[0].at <= ms) ?? SPANS.at(-1);
    this.plot.axes(rows, [[0, begin, "start"], [0.5, middle], [1, "now", "end"]]);
    const x = (at) => Math.max(1 - (now - at) / spanMs, 0);
    const points = (run) => run.filter(({ value }) => twiceMid(value) !== null)
      .map(({ at, value }) => [x(at), y(twiceMid(value) / 2)]);
    this.plot.runs("mid", this.history.runs.map(points));
    const columns = spanMs / STEP_MS;
    this.#paint(volumesOf(this.history.runs, range, now, STEP_MS, columns), columns, range.bins);
  }

  #erase() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(Math.round(canvas.clientWidth * scale), 1); // this erases it, too
    canvas.height = Math.max(Math.round(canvas.clientHeight * scale), 1);
  }

  #paint(volumes, columns, bins) {
    const style = getComputedStyle(this.canvas);
    const colours = { bid: rgb(style.getPropertyValue("--bid")), ask: rgb(style.getPropertyValue("--ask")) };
    const image = new ImageData(columns, bins);
    paint(image.data, volumes, columns, bins, colours);
    this.#pixels.width = columns;
    this.#pixels.height = bins;
    this.#pixels.getContext("2d").putImageData(image, 0, 0);
    const context = this.canvas.getContext("2d");
    const [across, down] = [this.canvas.width / this.plot.width, this.canvas.height / this.plot.height];
    context.imageSmoothingEnabled = false;
    context.drawImage(
      this.#pixels,
      this.plot.x(0) * across, this.plot.y(1) * down,
      (this.plot.x(1) - this.plot.x(0)) * across, (this.plot.y(0) - this.plot.y(1)) * down,
    );
  }
}

/** A colour such as "#0b6e58" as its three numbers. */
function rgb(text) {
  const digits = text.trim().slice(1);
  return [0, 2, 4].map((place) => parseInt(digits.slice(place, place + 2), 16));
}
