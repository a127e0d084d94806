import { trimmed } from "../format.js";

/** Shared by the charts: an SVG that follows its element's size, round numbers, paths and labels. */

const SVG = "http://www.w3.org/2000/svg";
const LETTER_PX = 6.6;

/** A plot with named paths; `left` and `bottom` leave room for labels. All lengths are CSS pixels. */
export class Plot {
  constructor(svg, names) {
    this.svg = svg;
    this.left = 4;
    this.right = 40;
    this.top = 6;
    this.bottom = 20;
    this.grid = this.#add("g", "grid");
    this.paths = Object.fromEntries(names.map((name) => [name, this.#add("path", name)]));
    this.resize();
    new ResizeObserver(() => this.resize()).observe(svg);
  }

  resize() {
    this.width = Math.max(this.svg.clientWidth, 120);
    this.height = Math.max(this.svg.clientHeight, 80);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
  }

  /** Map a share 0 … 1 of the plot to pixels; y grows upwards. */
  x(share) {
    return this.left + share * (this.width - this.left - this.right);
  }

  y(share) {
    return this.height - this.bottom - share * (this.height - this.top - this.bottom);
  }

  /** The share of the plot's width at a pixel: the inverse of `x`. */
  shareAt(pixel) {
    return (pixel - this.left) / (this.width - this.left - this.right);
  }

  /** Draw a path from [x, y] shares, horizontally first: a level holds until the next. */
  steps(name, points, close = false) {
    let d = this.#stepsOf(points);
    if (close && d) d += `V${this.y(0).toFixed(1)}H${this.x(points[0][0]).toFixed(1)}Z`;
    this.paths[name].setAttribute("d", d);
  }

  /** Draw several runs of steps as one path, with gaps between them. */
  runs(name, runs) {
    this.paths[name].setAttribute("d", runs.map((points) => this.#stepsOf(points)).join(""));
  }

  /** Draw a vertical line at a share of the width; nothing for null. */
  line(name, share) {
    const d = share === null ? "" : `M${this.x(share).toFixed(1)} ${this.y(0).toFixed(1)}V${this.y(1).toFixed(1)}`;
    this.paths[name].setAttribute("d", d);
  }

  /** Draw grid lines with labels (shares and texts), before the paths, because labels decide how much room is left. */
  axes(rows, columns) {
    const parts = [];
    const texts = trimmed(rows.map(([, text]) => text));
    this.right = Math.max(this.right, ...texts.map((text) => 12 + text.length * LETTER_PX));
    rows.forEach(([share], place) => {
      const y = this.y(share);
      parts.push(make("line", { x1: this.x(0), x2: this.x(1), y1: y, y2: y }));
      parts.push(make("text", { x: this.x(1) + 6, y: y + 4 }, texts[place]));
    });
    for (const [share, text, anchor = "middle"] of columns) {
      parts.push(make("text", { x: this.x(share), y: this.height - 5, "text-anchor": anchor }, text));
    }
    this.grid.replaceChildren(...parts);
  }

  /** Remove everything that was drawn, for a book of which nothing is known. */
  clear() {
    this.grid.replaceChildren();
    for (const path of Object.values(this.paths)) path.setAttribute("d", "");
    this.right = 40;
  }

  #stepsOf(points) {
    let d = "";
    points.forEach(([x, y], place) => {
      d += place ? `H${this.x(x).toFixed(1)}V${this.y(y).toFixed(1)}` : `M${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`;
    });
    return d;
  }

  #add(kind, name) {
    return this.svg.appendChild(make(kind, { class: name }));
  }
}

/** The smallest round number ≥ `value`; a round number is one of `factors` times a power of ten. */
export function nice(value, factors = [1, 2, 5, 10]) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * factors.find((factor) => factor * power >= value * 0.999999);
}

/** Round numbers from `low` to `high`, about `count` of them. */
export function ticks(low, high, count) {
  const step = nice((high - low) / count);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(Math.floor(high / step) - first + 1, 0) }, (_, place) => (first + place) * step);
}

/** A range of numbers with some room on both sides. */
export function padded(low, high) {
  const room = Math.max((high - low) * 0.08, 2);
  return [low - room, high + room];
}

function make(kind, attributes, text) {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
