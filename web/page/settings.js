/**
 * What the page shows, as its address says it: `#BTC-USD?levels=100&view=compare`. Pure.
 *
 * A link is written by people too: what is missing or makes no sense is the default.
 */

export const VIEWS = ["book", "compare"];
export const LEVELS = [10, 25, 50, 100];
/** Ticks in a row of the ladder. */
export const GROUPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
/** Bandwidths of the slow connection in bytes per second; 0 is no limit. */
export const RATES = [0, 32_000, 8000, 2000, 500];
export const DELAY_MS_MAX = 2000;
export const LANGUAGES = ["python", "js", "curl"];

export const DEFAULTS = Object.freeze({
  symbol: "", view: "book", levels: 50, group: 1, delay: 400, rate: 0, code: "python",
});

const oneOf = (known, read = String) => (text) => known.find((value) => value === read(text));

/** Reads each field's text; undefined for what makes no sense. */
const READERS = {
  view: oneOf(VIEWS),
  levels: oneOf(LEVELS, Number),
  group: oneOf(GROUPS, Number),
  delay: (text) => (/^\d{1,4}$/.test(text) && Number(text) <= DELAY_MS_MAX ? Number(text) : undefined),
  rate: oneOf(RATES, Number),
  code: oneOf(LANGUAGES),
};

/** The settings in the fragment of an address, with or without its `#`. */
export function settingsIn(fragment) {
  const text = fragment.replace(/^#/, "");
  const begin = text.indexOf("?");
  const [name, query] = begin < 0 ? [text, ""] : [text.slice(0, begin), text.slice(begin + 1)];
  const fields = new URLSearchParams(query);
  const settings = { ...DEFAULTS, symbol: decoded(name) };
  for (const [key, read] of Object.entries(READERS)) {
    const value = fields.has(key) ? read(fields.get(key)) : undefined;
    if (value !== undefined) settings[key] = value;
  }
  return settings;
}

/** The token in a fragment, null if there is none. It is no setting, so that no link that is copied has it. */
export function tokenIn(fragment) {
  return new URLSearchParams(fragment.slice(fragment.indexOf("?") + 1)).get("token") || null;
}

/** The fragment for settings; it names only what is not the default. */
export function fragmentOf(settings) {
  const fields = new URLSearchParams();
  for (const key of Object.keys(READERS)) {
    if (settings[key] !== DEFAULTS[key]) fields.set(key, settings[key]);
  }
  return `#${encodeURIComponent(settings.symbol)}${fields.size ? `?${fields}` : ""}`;
}

/** What to ask a gateway for, `{ depth, group }`. Only the book is shown in groups. */
export function optionsOf({ view, levels, group }) {
  return { depth: levels, group: view === "book" ? group : 1 };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // such as "100%"
  }
}
