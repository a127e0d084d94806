import { decimal } from "../format.js";
import { byId, setText } from "./draw.js";
import { Flashes } from "./flashes.js";

const ROWS_LEAST = 5;
const ROWS_MAX = 200;
const SIDES = ["bids", "asks"];
const NO_SHARE = -1;

/**
 * The levels of a book as table rows, asks above bids, with the spread in the middle of its element.
 *
 * There are as many rows as fit, and as many as there may be levels: the rest is reached by scrolling. A bar behind
 * each row shows the cumulative volume.
 */
export class Ladder {
  #fit = 0; // rows a side that are seen without scrolling
  #wanted = 0;
  #sizes = "";
  #centredPx = null; // where the spread was brought to the middle; null if it has to be

  /** In the element `scroller`, which is empty. */
  constructor(scroller) {
    this.scroller = scroller;
    scroller.append(byId("ladder").content.cloneNode(true));
    this.head = scroller.querySelector("thead");
    this.bodies = { asks: scroller.querySelector(".asks"), bids: scroller.querySelector(".bids") };
    this.gap = scroller.querySelector(".gap td");
    this.rows = { bids: [], asks: [] }; // best first, like the levels
    this.flashes = new Flashes();
    this.#fill(ROWS_LEAST);
    new ResizeObserver(() => this.#measure()).observe(scroller);
  }

  /** Prepare for another book, of up to `levels` levels a side. */
  reset(levels) {
    this.flashes.reset();
    this.#wanted = levels;
    this.#centredPx = null;
    this.#measure();
  }

  /** Bring the spread to the middle again. */
  centre() {
    const { scroller, head } = this;
    const above = this.rows.bids.length * this.#rowPx + this.gap.offsetHeight / 2;
    scroller.scrollTop = above - (scroller.clientHeight - head.offsetHeight) / 2;
    this.#centredPx = scroller.scrollTop; // as the browser rounds it
  }

  /**
   * Show `levels` at `now` (ms), which may sum up those of `book`; both as read from a feed.
   * Prices in `differing` ({ bids, asks }) are marked. `empty`: the text if the book has no levels.
   */
  draw(levels, book, now, { differing = null, empty = "" } = {}) {
    const { tick, lot, sizes } = levels;
    if (sizes !== this.#sizes) this.flashes.reset();
    this.#sizes = sizes;
    const full = Math.max(...SIDES.map((side) => total(levels[side].slice(0, this.#fit))), 1);
    for (const side of SIDES) {
      this.flashes.take(side, levels[side], now);
      let sum = 0;
      this.rows[side].forEach((row, place) => {
        const level = levels[side][place];
        if (!level) {
          row.draw(["", "", ""], 0, "", false);
          return;
        }
        const [price, quantity] = level;
        sum += quantity;
        const texts = [decimal(price, tick), decimal(quantity, lot), decimal(sum, lot)];
        row.draw(texts, Math.min(sum / full, 1), this.flashes.of(side, price), Boolean(differing?.[side].has(price)));
      });
    }
    setText(this.gap, gapText(book, empty));
  }

  get #rowPx() {
    return this.rows.bids[0].element.offsetHeight;
  }

  /** Whether nobody has scrolled away since the spread was brought to the middle. A taller element scrolls less far. */
  get #isCentred() {
    const { scroller } = this;
    if (this.#centredPx === null) return true;
    const expectedPx = Math.min(this.#centredPx, scroller.scrollHeight - scroller.clientHeight);
    return Math.abs(scroller.scrollTop - expectedPx) <= 1;
  }

  /** Have as many rows as fit now. The spread stays in the middle, unless somebody has scrolled elsewhere. */
  #measure() {
    const { scroller, head, gap } = this;
    const room = scroller.clientHeight - head.offsetHeight - gap.offsetHeight;
    if (room <= 0 || !this.#rowPx) {
      this.#centredPx = null; // not shown: the browser forgets where it was scrolled to
      return;
    }
    this.#fit = Math.max(Math.ceil(room / 2 / this.#rowPx), ROWS_LEAST); // cut off at the ends, so that the middle is one
    const filled = this.#fill(Math.min(Math.max(this.#fit, this.#wanted), ROWS_MAX));
    if (filled || this.#isCentred) this.centre();
  }

  /** Have `count` rows a side; false if there are as many already. */
  #fill(count) {
    if (count === this.rows.bids.length) return false;
    for (const side of SIDES) {
      const body = this.bodies[side];
      body.replaceChildren();
      const rows = Array.from({ length: count }, () => new Row(body.insertRow()));
      this.rows[side] = side === "asks" ? rows.reverse() : rows;
    }
    return true;
  }
}

class Row {
  #texts = ["", "", ""];
  #share = NO_SHARE;
  #class = "";

  constructor(element) {
    this.element = element;
    this.cells = this.#texts.map(() => element.appendChild(document.createElement("td")));
  }

  /** Write only what changes, because the page is drawn ten times per second. */
  draw(texts, share, flash, differs) {
    texts.forEach((text, place) => {
      if (text !== this.#texts[place]) this.cells[place].textContent = text;
    });
    this.#texts = texts;
    const bar = Math.round(share * 1000) / 10;
    if (bar !== this.#share) this.element.style.setProperty("--bar", `${bar}%`);
    this.#share = bar;
    const name = differs ? `differs ${flash}` : flash;
    if (name !== this.#class) this.element.className = name;
    this.#class = name;
  }
}

/** The spread is that of the book, also where rows sum up several ticks. */
function gapText({ bids: [bid], asks: [ask], tick }, empty) {
  if (bid && ask) return `spread ${decimal(ask[0] - bid[0], tick)}`;
  if (!bid && !ask) return empty;
  return bid ? "no asks" : "no bids";
}

function total(levels) {
  return levels.reduce((sum, [, quantity]) => sum + quantity, 0);
}
