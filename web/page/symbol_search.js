import { make, setText } from "./draw.js";
import { SHOWN_MAX, fetchSymbols, matching, neighbour } from "./symbol_list.js";

const REFRESH_MS = 3000;
const PAGE = 8; // options that PageDown skips

/**
 * A field in which a symbol is typed, and the list of those that match, with sizes and states: a combobox, operated by
 * arrows, Enter and Escape, or by a pointer.
 */
export class SymbolSearch {
  #rows = [];
  #matches = [];
  #active = 0;
  #shown = "";
  #timer = 0;

  /** `choose(symbol)` is called with the symbol that was chosen; `token` is the one of the page. */
  constructor(input, list, count, choose, token) {
    Object.assign(this, { input, list, count, choose, token });
    input.addEventListener("focus", () => this.#open());
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("input", () => this.#match());
    input.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", ({ target }) => { // not sooner: a finger may only be scrolling
      const option = target.closest("[role=option]");
      if (option) this.#choose(option.dataset.symbol);
    });
  }

  /** The symbol that is shown, for the field while nobody types in it. */
  show(symbol) {
    this.#shown = symbol;
    if (!this.#isOpen) this.input.value = symbol;
  }

  focus() {
    this.input.focus();
  }

  /** Choose the symbol `steps` after the one shown. */
  async step(steps) {
    if (!this.#rows.length) await this.refresh();
    if (this.#rows.length) this.choose(neighbour(this.#rows, this.#shown, steps));
  }

  /** Fetch the symbols; returns them, or null if the gateway does not answer, or wants another token. */
  async refresh() {
    if (this.token.isBarred) return null;
    const { current } = this.token;
    const rows = await fetchSymbols(current, (text) => {
      if (!this.token.isTaken) this.token.refuses(current, text); // otherwise the connections say it
    });
    if (rows) {
      this.#rows = rows;
      if (this.#isOpen) this.#list();
    }
    return rows;
  }

  get #isOpen() {
    return !this.list.hidden;
  }

  #open() {
    this.input.value = "";
    this.input.setAttribute("aria-expanded", "true");
    this.list.hidden = false;
    this.#match();
    this.refresh();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  #close() {
    clearInterval(this.#timer);
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.input.value = this.#shown;
    setText(this.count, "");
  }

  /** List what matches another text. */
  #match() {
    this.#active = 0;
    this.#list();
    this.#reveal();
  }

  #list() {
    this.#matches = matching(this.#rows, this.input.value);
    const shown = this.#matches.slice(0, SHOWN_MAX);
    this.list.replaceChildren(...shown.map((row, place) => option(row, place)));
    const more = this.#matches.length - shown.length;
    const note = more ? `${more} more: type to narrow it down` : shown.length ? "" : this.#nothing();
    if (note) this.list.append(make("li", { role: "presentation", class: "more" }, note));
    setText(this.count, `${this.#matches.length} symbols`);
    this.#mark(Math.min(this.#active, Math.max(shown.length - 1, 0)));
  }

  #nothing() {
    return this.#rows.length ? `no symbol has “${this.input.value}” in its name` : "no symbols known yet";
  }

  #mark(place) {
    this.#active = place;
    const options = this.list.querySelectorAll("[role=option]");
    options.forEach((element, index) => element.setAttribute("aria-selected", String(index === place)));
    if (options[place]) this.input.setAttribute("aria-activedescendant", options[place].id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  /** Scroll to the option that is marked. */
  #reveal() {
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    const last = Math.min(this.#matches.length, SHOWN_MAX) - 1;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE };
    if (Object.hasOwn(moves, event.key)) {
      this.#mark(Math.max(Math.min(this.#active + moves[event.key], last), 0));
      this.#reveal();
    } else if (event.key === "Enter" && this.#matches.length) this.#choose(this.#matches[this.#active].symbol);
    else if (event.key === "Escape") this.input.blur();
    else return;
    event.preventDefault();
  }

  #choose(symbol) {
    this.#shown = symbol;
    this.input.blur();
    this.choose(symbol);
  }
}

function option({ symbol, tick_size: tick, lot_size: lot, state, reason }, place) {
  const badge = make("span", { class: "state", "data-state": state }, state);
  if (reason) badge.title = reason;
  return make(
    "li",
    { role: "option", id: `symbol-${place}`, "aria-selected": "false", "data-symbol": symbol },
    make("strong", {}, symbol), make("span", { class: "sizes" }, `tick ${tick} · lot ${lot}`), badge,
  );
}
