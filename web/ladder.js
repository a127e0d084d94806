import { decimal } from "./format.js";

const ROWS_MAX = 12;

/** The best levels of both sides as table rows, asks above bids; a bar behind each shows the cumulative volume. */
export class Ladder {
  constructor(table) {
    this.rows = {
      asks: makeRows(table.querySelector(".asks")).reverse(), // best first, like the levels
      bids: makeRows(table.querySelector(".bids")),
    };
    this.gap = table.querySelector(".gap td");
  }

  /** Show the first rows of `levels` ({bids, asks}, best first); prices in `differing` ({bids, asks}) are marked. */
  draw(levels, { tick, lot }, differing) {
    const bars = Math.max(...["bids", "asks"].map((side) => total(levels[side].slice(0, ROWS_MAX))), 1);
    for (const side of ["bids", "asks"]) {
      let sum = 0;
      this.rows[side].forEach((row, place) => {
        const level = levels[side][place];
        sum += level?.[1] ?? 0;
        row.draw(level, sum, sum / bars, { tick, lot }, Boolean(level && differing?.[side].has(level[0])));
      });
    }
    const [bid, ask] = [levels.bids[0], levels.asks[0]];
    setText(this.gap, bid && ask ? `spread ${decimal(ask[0] - bid[0], tick)}` : "");
  }
}

class Row {
  constructor(element) {
    this.element = element;
    this.cells = [0, 1, 2].map(() => element.appendChild(document.createElement("td")));
    this.bar = -1;
  }

  draw(level, sum, share, { tick, lot }, differs) {
    const texts = level ? [decimal(level[0], tick), decimal(level[1], lot), decimal(sum, lot)] : ["", "", ""];
    texts.forEach((text, place) => setText(this.cells[place], text));
    const bar = level ? Math.round(share * 1000) / 10 : 0;
    if (bar !== this.bar) this.element.style.setProperty("--bar", `${bar}%`);
    this.bar = bar;
    this.element.classList.toggle("differs", differs);
  }
}

/** Write only what changes, because the page is drawn ten times per second. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function makeRows(body) {
  return Array.from({ length: ROWS_MAX }, () => new Row(body.insertRow()));
}

function total(levels) {
  return levels.reduce((sum, [, quantity]) => sum + quantity, 0);
}
