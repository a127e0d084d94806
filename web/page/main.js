import { Client, animationFrame } from "../depthcast.js";
import { SlowLink } from "../slow.js";
import { BookView } from "./book_view.js";
import { CompareView } from "./compare_view.js";
import { CopyPanel } from "./copy_panel.js";
import { byId } from "./draw.js";
import { Feed } from "./feed.js";
import { Head } from "./head.js";
import { keyRows, listenToKeys } from "./keys.js";
import { LinkControls } from "./link_controls.js";
import { GROUPS, LEVELS, depthOf, fragmentOf, settingsIn } from "./settings.js";
import { baseOf } from "./snippets.js";
import { SymbolSearch } from "./symbol_search.js";

const DRAW_MS = 100;
const RETRY_MS = 1000;
/** A book may have been taken for live this long before it was known that it was not, as on a silent connection. */
const DOUBTFUL_MS = 15_000;

/** The page: what its address says, drawn ten times per second from one moment of its connections. */
class Page {
  #drawn = 0;
  #live = { direct: false, slow: false };

  constructor() {
    const link = new SlowLink();
    const base = baseOf(document.baseURI);
    this.settings = settingsIn("");
    this.feeds = {
      direct: new Feed(() => new Client(base, { pace: animationFrame })),
      slow: new Feed(() => new Client(base, { creditWindow: 1, link }), () => link.paused),
    };
    this.views = { book: new BookView(byId("book-view")), compare: new CompareView(byId("compare-view")) };
    this.head = new Head();
    this.search = new SymbolSearch(
      byId("symbol"), byId("symbols"), byId("symbols-count"), (symbol) => this.change({ symbol }, true),
    );
    this.copy = new CopyPanel(byId("copy"), base, (code) => this.change({ code }));
    this.link = new LinkControls(link, (changes) => this.change(changes));
    this.#listen();
  }

  /** Change settings, and the address with them; `push` makes a place to go back to. */
  change(changes, push = false) {
    const settings = { ...this.settings, ...changes };
    history[push ? "pushState" : "replaceState"](null, "", fragmentOf(settings));
    this.apply(settings);
  }

  /** Show what `settings` say. */
  apply(settings) {
    const before = this.settings;
    this.settings = settings;
    const { symbol, levels, group, view } = settings;
    const depth = depthOf(settings);
    const { direct } = this.feeds;
    const moved = symbol !== direct.symbol || depth !== direct.depth || direct.isOver;
    if (moved) direct.show(symbol, depth);
    if (moved || group !== before.group || levels !== before.levels) this.views.book.reset(settings);
    for (const name of Object.keys(this.views)) byId(`${name}-view`).hidden = name !== view;
    this.#compare(view === "compare", moved);
    this.head.show(settings, depth);
    this.search.show(symbol);
    this.copy.show(settings.code, symbol, depth);
    this.link.show(settings);
  }

  /** Draw everything from one consistent state. */
  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    if (now - this.#drawn < DRAW_MS) return;
    this.#drawn = now;
    const at = performance.now();
    const readings = { direct: this.feeds.direct.read(at), slow: this.feeds.slow.read(at) };
    for (const [name, reading] of Object.entries(readings)) this.#notice(name, reading, at);
    this.views.book.sample(at, readings.direct);
    if (this.settings.view === "compare") this.views.compare.draw(at, this.feeds, readings);
    else this.views.book.draw(at, this.feeds.direct, readings.direct);
    this.head.draw(readings.direct);
  }

  /** The slow connection is there only while it is looked at. */
  #compare(wanted, moved) {
    const { slow, direct } = this.feeds;
    if (!wanted) slow.close();
    else if (moved || !slow.view || slow.isOver) {
      slow.show(direct.symbol, direct.depth);
      this.views.compare.reset(this.settings);
    }
  }

  /** When a book is not live any more, lines end where its data ended. */
  #notice(name, { standing, agoMs }, at) {
    const live = standing.state === "live" || standing.state === "paused";
    if (this.#live[name] && !live) {
      const end = Math.max(at - (agoMs ?? 0), at - DOUBTFUL_MS);
      this.views.compare.cut(name, end);
      if (name === "direct") this.views.book.cut(end);
    }
    this.#live[name] = live;
  }

  #listen() {
    addEventListener("popstate", () => this.apply(settingsIn(location.hash)));
    byId("levels").addEventListener("change", ({ target }) => this.change({ levels: Number(target.value) }));
    byId("group").addEventListener("change", ({ target }) => this.change({ group: Number(target.value) }));
    byId("help-rows").replaceChildren(...keyRows());
    const actions = {
      search: () => this.search.focus(),
      next: () => this.search.step(1),
      previous: () => this.search.step(-1),
      book: () => this.change({ view: "book" }, true),
      compare: () => this.change({ view: "compare" }, true),
      more: () => this.change({ levels: further(LEVELS, this.settings.levels, 1) }),
      fewer: () => this.change({ levels: further(LEVELS, this.settings.levels, -1) }),
      coarser: () => this.change({ group: further(GROUPS, this.settings.group, 1) }),
      finer: () => this.change({ group: further(GROUPS, this.settings.group, -1) }),
      centre: () => this.#centre(),
      copy: () => this.copy.copy(),
      help: () => toggle(byId("help")),
    };
    for (const name of ["book", "compare", "centre", "help"]) {
      byId(`to-${name}`).addEventListener("click", actions[name]);
    }
    byId("help-close").addEventListener("click", () => byId("help").close());
    listenToKeys(actions);
  }

  #centre() {
    const { book, compare } = this.views;
    for (const { ladder } of [book, ...Object.values(compare.panes)]) ladder.centre();
  }
}

/** The value `steps` further in a list, or its end. */
function further(values, value, steps) {
  return values[Math.min(Math.max(values.indexOf(value) + steps, 0), values.length - 1)];
}

function toggle(dialog) {
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/** Choose the first symbol where the address names none, as soon as the gateway has any. */
async function start() {
  const page = new Page();
  page.apply(settingsIn(location.hash));
  requestAnimationFrame((now) => page.frame(now));
  for (;;) {
    const rows = await page.search.refresh();
    if (page.settings.symbol) return;
    if (rows?.length) {
      page.change({ symbol: rows[0].symbol });
      return;
    }
    page.head.missing = rows ? "The gateway has no symbols yet." : "The gateway does not answer.";
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

start();
