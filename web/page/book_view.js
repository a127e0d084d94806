import { DepthChart } from "./depth_chart.js";
import { byId, setData } from "./draw.js";
import { Figures } from "./figures.js";
import { grouped } from "./grouping.js";
import { HeatMap } from "./heat_map.js";
import { Ladder } from "./ladder.js";

/** One book: its ladder, its depth now and over the last minutes, and the connection it comes by. */
export class BookView {
  #group = 1;
  #symbol = "";

  constructor(section) {
    this.section = section;
    this.ladder = new Ladder(byId("book").querySelector(".ladder"));
    this.depth = new DepthChart(byId("depth-chart"), byId("depth-reading"));
    this.heat = new HeatMap(byId("heat-canvas"), byId("heat-chart"));
    this.figures = new Figures(section);
  }

  /** Another book, or the same at another depth, will be shown by these settings. */
  reset({ symbol, levels, group }) {
    this.#group = group;
    this.ladder.reset(levels);
    this.depth.reset();
    if (symbol !== this.#symbol) this.heat.reset();
    this.#symbol = symbol;
  }

  /** The book was not current any more after `at` (ms). */
  cut(at) {
    this.heat.cut(at);
  }

  /** Record what is read at `now` (ms), also while another view is shown. */
  sample(now, reading) {
    this.heat.sample(now, reading, reading.standing.state === "live");
  }

  draw(now, feed, reading) {
    const { standing, seq, digest, symbol } = reading;
    this.ladder.draw(this.#rows(reading), reading, now, { empty: emptyText(reading) });
    this.depth.draw(reading);
    this.heat.draw(now, reading.tick);
    this.figures.draw(feed, reading, now);
    setData(this.section, "state", standing.state);
    for (const [name, value] of Object.entries({ symbol, seq, digest })) setData(byId("book"), name, String(value));
  }

  #rows(reading) {
    const rows = (side) => grouped(reading[side], side, this.#group, reading[side].length < reading.depth);
    return this.#group === 1 ? reading : { bids: rows("bids"), asks: rows("asks") };
  }
}

/** What to say in place of levels. */
export function emptyText({ seq, standing }) {
  if (seq) return "This book is empty: no bids, no asks";
  return standing.alarm ? "no book" : "waiting for the book";
}
