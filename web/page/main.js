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
import { Token, withToken } from "./token.js";
import { sendToken } from "./token_links.js";
import { TokenPanel, barredText } from "./token_panel.js";
import { GROUPS, LEVELS, fragmentOf, optionsOf, settingsIn, tokenIn } from "./settings.js";
import { baseOf } from "./snippets.js";
import { SymbolSearch } from "./symbol_search.js";

const DRAW_MS = 100;
const GLANCE_MS = 1000;
const RETRY_MS = 1000;
const LOOK_AGAIN_MS = 2000;

/** The page: what its address says, drawn ten times per second from one moment of its connections. */
class Page {
  #drawn = 0;
  #live = {}; // by connection: whether it was live, and nothing was taken back since

  constructor() {
    const link = new SlowLink();
    const base = baseOf(document.baseURI);
    this.token = new Token(tokenTaken(), () => this.panel.show(this.token));
    this.panel = new TokenPanel((text) => this.#give(text));
    sendToken(document.querySelectorAll("a.served"), this.token);
    this.settings = settingsIn("");
    const connecting = (options) => () =>
      withToken(this.token, (token) => new Client(base, { ...options, token }));
    const barred = () => barredText(this.token);
    this.feeds = {
      direct: new Feed(connecting({ pace: animationFrame }), { barred }),
      rows: new Feed(connecting({ pace: animationFrame }), { barred }),
      slow: new Feed(connecting({ creditWindow: 1, link }), { barred, isPaused: () => link.paused }),
    };
    this.views = { book: new BookView(byId("book-view")), compare: new CompareView(byId("compare-view")) };
    this.head = new Head();
    this.search = new SymbolSearch(
      byId("symbol"), byId("symbols"), byId("symbols-count"), (symbol) => this.change({ symbol }, true), this.token,
    );
    this.copy = new CopyPanel(byId("copy"), base, (code) => this.change({ code }));
    this.link = new LinkControls(link, (changes) => this.change(changes));
    this.#listen();
    this.#watch();
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
    const { direct } = this.feeds;
    const moved = symbol !== direct.symbol || levels !== direct.depth || direct.isOver;
    if (moved) direct.show(symbol, levels);
    if (moved || group !== before.group) this.views.book.reset(settings);
    for (const name of Object.keys(this.views)) byId(`${name}-view`).hidden = name !== view;
    this.#sumUp();
    this.#compare(view === "compare", moved);
    this.head.show(settings);
    this.search.show(symbol);
    this.copy.show(settings);
    this.link.show(settings);
  }

  /** Draw everything from one consistent state. */
  frame(now) {
    requestAnimationFrame((next) => this.frame(next));
    if (now - this.#drawn < DRAW_MS) return;
    this.#drawn = now;
    const at = performance.now();
    const readings = this.#read(at);
    this.views.book.sample(at, readings.direct);
    if (this.settings.view === "compare") this.views.compare.draw(at, this.feeds, readings);
    else this.views.book.draw(at, this.feeds.direct, readings);
    this.head.draw(readings.book);
  }

  /**
   * What the connections show now, and as `book` what is to be said of the book. Where something turns out to be old,
   * lines end where its data ended.
   */
  #read(at) {
    const readings = {};
    for (const [name, feed] of Object.entries(this.feeds)) {
      const reading = feed.read(at);
      const { standing, agoMs } = reading;
      readings[name] = reading;
      if (standing.state === "live" || standing.state === "paused") this.#live[name] = true;
      else if (standing.alarm && this.#live[name]) {
        this.#live[name] = false;
        for (const view of Object.values(this.views)) view.cut(name, at - Math.min(agoMs ?? 0, feed.doubtMs));
      }
    }
    const { direct, rows } = readings;
    const least = this.#isSummedUp && direct.standing.state === "live" ? rows : direct;
    return { ...readings, book: { ...direct, standing: least.standing } };
  }

  get #isSummedUp() {
    return optionsOf(this.settings).group > 1;
  }

  /** Rows of several ticks come by a connection of their own, because the quote and the charts are of single ticks. */
  #sumUp() {
    const { rows } = this.feeds;
    const { symbol } = this.settings;
    const { depth, group } = optionsOf(this.settings);
    if (!this.#isSummedUp) rows.close();
    else if (!rows.view || rows.isOver || rows.symbol !== symbol || rows.depth !== depth || rows.group !== group) {
      rows.show(symbol, depth, group);
    }
  }

  /** The slow connection is there only while it is looked at. */
  #compare(wanted, moved) {
    const { slow, direct } = this.feeds;
    if (!wanted) {
      slow.close();
      this.link.pause(false);
    } else if (moved || !slow.view || slow.isOver) {
      slow.show(direct.symbol, direct.depth);
      this.views.compare.reset(this.settings);
    }
  }

  #listen() {
    addEventListener("popstate", () => {
      const token = tokenTaken();
      if (token === null || !this.#give(token)) this.apply(settingsIn(location.hash));
    });
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

  /** What goes on without anybody: a browser draws no hidden tab, but its title can be seen. */
  #watch() {
    setInterval(() => {
      if (document.hidden) this.head.draw(this.#read(performance.now()).book);
    }, GLANCE_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) for (const feed of Object.values(this.feeds)) feed.wake(performance.now());
    });
    setInterval(() => this.#lookAgain(), LOOK_AGAIN_MS);
  }

  /** Show a symbol that was withdrawn, or that the gateway did not know, as soon as it is listed. */
  async #lookAgain() {
    const { direct } = this.feeds;
    const isGone = () => direct.view?.state === "removed" && direct.client.state !== "ended";
    if (!isGone()) return;
    const rows = await this.search.refresh();
    if (isGone() && rows?.some(({ symbol }) => symbol === direct.symbol)) this.apply(this.settings);
  }

  /** Go on with another token: on open connections if they may, on new ones if that is another's. */
  #give(text) {
    const { token } = this;
    const [before, awaited] = [token.current, token.isAwaited];
    if (!token.give(text)) return false;
    for (const feed of Object.values(this.feeds)) {
      if (before !== null && token.current !== before) feed.restart();
      else if (!awaited) feed.client?.refreshToken();
    }
    this.apply(settingsIn(location.hash));
    return true;
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

/** Take the token out of the address, so that nothing that is copied or remembered has it; null if there is none. */
function tokenTaken() {
  const token = tokenIn(location.hash);
  if (token !== null) history.replaceState(null, "", fragmentOf(settingsIn(location.hash)));
  return token;
}

/** Choose the first symbol where the address names none, as soon as the gateway has any. */
async function choose(page) {
  for (;;) {
    const rows = await page.search.refresh();
    if (page.settings.symbol) return;
    if (rows?.length) {
      page.change({ symbol: rows[0].symbol });
      return;
    }
    page.head.missing = page.token.isBarred ? "" : rows ? "The gateway has no symbols yet." : "The gateway does not answer.";
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

const page = new Page();
page.apply(settingsIn(location.hash));
requestAnimationFrame((now) => page.frame(now));
choose(page);
