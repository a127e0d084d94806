import { decimal, half } from "../format.js";
import { byId, make, setData, setText } from "./draw.js";
import { twiceMid } from "./history.js";
import { GROUPS, VIEWS, optionsOf } from "./settings.js";
import { queryOf } from "./snippets.js";
import { agoText } from "./standing.js";

/** What is above both views: the controls, the quote, and how far what is shown can be trusted. */
export class Head {
  #sizes = ""; // that the list of groups was made for
  #group = 1;

  constructor() {
    this.missing = ""; // why there is no symbol to show
  }

  /** Let the controls and links show `settings`. */
  show(settings) {
    const { symbol, view, levels, group } = settings;
    this.#group = group;
    for (const name of VIEWS) byId(`to-${name}`).setAttribute("aria-pressed", String(name === view));
    byId("levels").value = levels;
    byId("group").value = group;
    byId("grouping").hidden = view !== "book";
    byId("snapshot").href = `v1/books/${encodeURIComponent(symbol)}?${queryOf(optionsOf(settings))}`;
  }

  /** Draw what was read from the direct connection. */
  draw(reading) {
    const { standing, symbol } = reading;
    setText(byId("standing"), standing.word);
    setData(byId("standing"), "state", standing.state);
    setData(document.body, "state", standing.state);
    const title = `${standing.state === "live" ? "" : `${standing.word}: `}${symbol || "Depthcast"}`;
    if (document.title !== title) document.title = title;
    this.#alarm(reading);
    this.#quote(reading);
    this.#groups(reading.tick);
  }

  /** The alarm's own text changes rarely, because it is read out; what counts seconds is beside it. */
  #alarm({ standing, agoMs, seq, symbol }) {
    const text = standing.alarm || (symbol ? "" : this.missing);
    const ago = seq && agoMs !== null ? `Last update ${agoText(agoMs)}.` : "";
    byId("alarm").hidden = !text;
    setText(byId("alarm-text"), text);
    setText(byId("alarm-next"), text ? `${ago} ${standing.next}`.trim() : "");
  }

  #quote(reading) {
    const { bids: [bid], asks: [ask], tick } = reading;
    const twice = twiceMid(reading);
    setText(byId("bid"), bid ? decimal(bid[0], tick) : "–");
    setText(byId("ask"), ask ? decimal(ask[0], tick) : "–");
    setText(byId("mid"), twice === null ? "–" : decimal(twice, half(tick)));
    setText(byId("spread"), twice === null ? "–" : decimal(ask[0] - bid[0], tick));
  }

  /** The list of groups says prices, so it depends on the symbol. */
  #groups(tick) {
    const sizes = decimal(1, tick);
    if (sizes === this.#sizes) return;
    this.#sizes = sizes;
    byId("group").replaceChildren(...GROUPS.map((ticks) => make("option", { value: ticks }, decimal(ticks, tick))));
    byId("group").value = this.#group;
  }
}
