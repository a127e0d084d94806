import { difference } from "../book.js";
import { duration } from "../format.js";
import { emptyText } from "./book_view.js";
import { DepthChart } from "./depth_chart.js";
import { byId, make, setData, setText } from "./draw.js";
import { Figures } from "./figures.js";
import { Ladder } from "./ladder.js";
import { MidChart } from "./mid_chart.js";
import { agoText } from "./standing.js";

/** Two connections to the same gateway side by side: a direct one and a slow one. */
export class CompareView {
  constructor(section) {
    this.section = section;
    this.panes = { direct: new Pane(byId("direct")), slow: new Pane(byId("slow")) };
    this.depth = new DepthChart(byId("compare-depth-chart"), byId("compare-depth-reading"));
    this.mid = new MidChart(byId("mid-chart"));
  }

  /** Another book, or the same at another depth, will be shown by these settings. */
  reset({ levels }) {
    for (const pane of Object.values(this.panes)) pane.ladder.reset(levels);
    this.depth.reset();
    this.mid.reset();
  }

  /** What came by connection `name` was not current any more after `at` (ms). */
  cut(name, at) {
    if (name in this.panes) this.mid.cut(name, at);
  }

  /** Draw the two feeds, `{ direct, slow }`, and what was read from them at `now` (ms). */
  draw(now, feeds, { direct, slow }) {
    // One connection is told of a new listing before the other. Until then their prices cannot be compared.
    const alike = direct.sizes === slow.sizes;
    const both = direct.seq > 0 && slow.seq > 0 && alike;
    const differing = difference(mapsOf(direct), mapsOf(slow));
    compare(direct, slow, differing, both);
    this.panes.direct.draw(now, feeds.direct, direct, null);
    this.panes.slow.draw(now, feeds.slow, slow, both ? differing : null);
    if (direct.seq) this.mid.begin(direct.sizes);
    this.mid.sample("direct", now, direct, isCurrent(direct));
    this.mid.sample("slow", now, slow, isCurrent(slow) && both);
    this.depth.draw(direct, both ? slow : undefined);
    this.mid.draw(now, direct.tick);
  }
}

/** A paused link shows what it has, on purpose: it is as current as it can be. */
function isCurrent({ standing: { state } }) {
  return state === "live" || state === "paused";
}

/** One connection: its state, its figures and its ladder. */
class Pane {
  constructor(section) {
    this.section = section;
    section.querySelector("h2").after(byId("connection").content.cloneNode(true));
    this.badge = section.querySelector(".state");
    this.ago = make("span", { class: "ago" });
    this.badge.after(this.ago);
    const ladder = section.querySelector(".ladder");
    ladder.setAttribute("aria-label", `Levels of the ${section.id} connection`);
    this.ladder = new Ladder(ladder);
    this.figures = new Figures(section);
  }

  draw(now, feed, reading, differing) {
    const { standing, agoMs, symbol, seq, digest } = reading;
    setText(this.badge, standing.word);
    setData(this.badge, "state", standing.state);
    setText(this.ago, isCurrent(reading) || agoMs === null ? "" : `last update ${agoText(agoMs)}`);
    this.figures.draw(feed, reading, now);
    this.ladder.draw(reading, reading, now, { differing, empty: emptyText(reading) });
    const data = { state: standing.state, symbol, seq: String(seq), digest: String(digest) };
    for (const [name, value] of Object.entries(data)) setData(this.section, name, value);
  }
}

/** Show the difference between the two books; nothing is said of books that are not current. */
function compare(direct, slow, differing, both) {
  const levels = differing.bids.size + differing.asks.size;
  const same = both && levels === 0;
  // Two gateways may give the same view different numbers: then there is no distance.
  const distance = same ? 0 : direct.seq - slow.seq;
  const known = both && isCurrent(direct) && isCurrent(slow);
  const section = byId("difference");
  setData(section, "levels", known ? String(levels) : "");
  setData(section, "distance", known ? String(distance) : "");
  section.classList.toggle("same", known && same);
  setText(byId("levels-differing"), known ? String(levels) : "–");
  setText(byId("distance"), known ? String(distance) : "–");
  setText(byId("behind"), known ? duration(same ? 0 : (direct.ts - slow.ts) / 1000) : "–");
  setText(byId("verdict"), verdict(both, known, same, distance));
}

function verdict(both, known, same, distance) {
  if (!both) return "waiting for both books";
  if (!known) return "not known while a connection is not live";
  if (same) return "the two books are the same";
  return distance < 0 ? "the slow connection is ahead for a moment" : "the slow connection shows an older state";
}

function mapsOf({ bids, asks }) {
  return { bids: new Map(bids), asks: new Map(asks) };
}
