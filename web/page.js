import { DepthChart } from "./depth_chart.js";
import { Client, difference } from "./depthcast.js";
import { duration } from "./format.js";
import { setText } from "./ladder.js";
import { MidChart } from "./mid_chart.js";
import { Pane, quote } from "./pane.js";
import { SlowLink } from "./slow.js";

const DRAW_MS = 100;
const RETRY_MS = 1000;
const element = (id) => document.getElementById(id);

/** The page: two connections to the same gateway, side by side. */
class Page {
  constructor() {
    const link = new SlowLink();
    handle(link);
    this.direct = new Pane(element("live"), new Client(document.baseURI));
    this.slow = new Pane(element("slow"), new Client(document.baseURI, { creditWindow: 1, link }), () => link.paused);
    this.depthChart = new DepthChart(element("depth-chart"));
    this.midChart = new MidChart(element("mid-chart"));
    this.panes = [this.direct, this.slow];
    for (const { client } of this.panes) {
      client.addEventListener("problem", ({ detail }) => notice(detail.text));
      client.addEventListener("removed", ({ detail }) => notice(`${detail.symbol} was withdrawn`));
    }
    this.drawn = 0;
  }

  /** Show another symbol, or another depth. */
  show(symbol, depth) {
    notice("");
    for (const pane of this.panes) {
      if (pane.view && pane.view.symbol !== symbol) pane.client.unsubscribe(pane.view.symbol);
      pane.follow(pane.client.subscribe(symbol, { depth }));
    }
    this.depthChart.reset();
    this.midChart.reset();
    element("snapshot").href = `v1/books/${symbol}?depth=${depth}`;
  }

  /** Draw everything from one consistent state, ten times per second. */
  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    if (now - this.drawn < DRAW_MS) return;
    this.drawn = now;
    const direct = this.direct.read();
    const slow = this.slow.read();
    const both = direct.book.seq > 0 && slow.book.seq > 0;
    const differing = difference(direct.book, slow.book);
    this.direct.draw(direct);
    this.slow.draw(slow, both ? differing : null);
    compare(both, direct.book, slow.book, differing);
    const { mid, spread } = quote(direct);
    setText(element("mid"), mid);
    setText(element("spread"), spread);
    this.depthChart.draw(direct.levels, slow.levels, direct.sizes);
    this.midChart.sample(now, direct.levels, slow.levels);
    this.midChart.draw(now, direct.sizes);
  }
}

/** Show the difference between the two books. */
function compare(both, direct, slow, differing) {
  const levels = differing.bids.size + differing.asks.size;
  const same = both && levels === 0;
  // Two gateways may give the same view different numbers: then there is no distance.
  const distance = same ? 0 : direct.seq - slow.seq;
  const behindMs = same ? 0 : (direct.ts - slow.ts) / 1000;
  const section = element("difference");
  Object.assign(section.dataset, both ? { levels, distance } : { levels: "", distance: "" });
  section.classList.toggle("same", same);
  setText(element("levels"), both ? String(levels) : "–");
  setText(element("distance"), both ? String(distance) : "–");
  setText(element("behind"), both ? duration(behindMs) : "–");
  const apart = distance < 0 ? "the slow connection is ahead for a moment" : "the slow connection shows an older state";
  setText(element("verdict"), both ? (same ? "the two books are the same" : apart) : "waiting for both books");
}

/** Connect the controls to the slow link. */
function handle(link) {
  const [delay, rate, pause] = ["delay", "rate", "pause"].map(element);
  const paused = () => pause.getAttribute("aria-pressed") === "true";
  const apply = () => {
    setText(element("delay-shown"), `${delay.value} ms`);
    setText(pause, paused() ? "Resume" : "Pause");
    link.set({
      delayMs: Number(delay.value), bytesPerSecond: rate.value ? Number(rate.value) : Infinity, paused: paused(),
    });
  };
  delay.addEventListener("input", apply);
  rate.addEventListener("change", apply);
  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    apply();
  });
  apply();
}

function notice(text) {
  setText(element("notice"), text);
}

/** Fetch the symbols, as soon as the gateway has any. */
async function symbols() {
  for (;;) {
    try {
      const response = await fetch("v1/symbols");
      const listed = await response.json();
      if (listed.length) return listed.map(({ symbol }) => symbol);
      notice("the gateway knows no instruments yet");
    } catch {
      notice("the gateway does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function start() {
  const names = await symbols();
  const [picker, depth] = [element("symbol"), element("depth")];
  const asked = decodeURIComponent(location.hash.slice(1));
  picker.replaceChildren(...names.map((name) => new Option(name, name, false, name === asked)));
  picker.disabled = false;
  const page = new Page();
  const show = () => {
    history.replaceState(null, "", `#${picker.value}`);
    page.show(picker.value, Number(depth.value));
  };
  picker.addEventListener("change", show);
  depth.addEventListener("change", show);
  show();
  requestAnimationFrame((now) => page.frame(now));
}

start();
