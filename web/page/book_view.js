import { DepthChart } from "./depth_chart.js";
import { byId, setData } from "./draw.js";
import { Figures } from "./figures.js";
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

  /** Another book, or the same in another depth or grouping, will be shown by these settings. */
  reset({ symbol, levels, group }) {
    this.#group = group;
    this.ladder.reset(levels);
    this.depth.reset();
    if (symbol !== this.#symbol) this.heat.reset();
    this.#symbol = symbol;
  }

  /** The book that came by connection `name` was not current any more after `at` (ms). */
  cut(name, at) {
    if (name === "direct") this.heat.cut(at);
  }

  /** Record what is read at `now` (ms), also while another view is shown. */
  sample(now, reading) {
    this.heat.sample(now, reading, reading.standing.state === "live");
  }

  /** Draw the book at `now` (ms), which came by `feed`, with `rows` in its ladder that may sum up several ticks. */
  draw(now, feed, { book, rows }) {
    const { standing, seq, digest, symbol } = book;
    this.ladder.draw(this.#group === 1 ? book : rows, book, now, { empty: emptyText(book) });
    this.depth.draw(book);
    this.heat.draw(now, book.tick);
    this.figures.draw(feed, book, now);
    setData(this.section, "state", standing.state);
    for (const [name, value] of Object.entries({ symbol, seq, digest })) setData(byId("book"), name, String(value));
  }
}

/** What to say in place of levels. */
export function emptyText({ seq, standing }) {
  if (seq) return "This book is empty: no bids, no asks";
  return standing.alarm ? "no book" : "waiting for the book";
}
