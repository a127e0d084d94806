import { make } from "./draw.js";

/** Keys that act on the page, in the order of the help: [keys, name of the action, what it does]. */
export const KEYS = [
  [["/"], "search", "search a symbol"],
  [["]", "n"], "next", "next symbol"],
  [["[", "p"], "previous", "previous symbol"],
  [["b"], "book", "show the book"],
  [["v"], "compare", "compare two connections"],
  [["+", "="], "more", "more levels"],
  [["-"], "fewer", "fewer levels"],
  [["."], "coarser", "sum up more ticks in a row"],
  [[","], "finer", "sum up fewer ticks in a row"],
  [["c"], "centre", "bring the spread to the middle"],
  [["y"], "copy", "copy the program for what is shown"],
  [["?"], "help", "show or hide these keys"],
];

/**
 * Call `actions[name]()` for each key, unless it is typed into a field or belongs to a shortcut of the browser. While the
 * help is shown, keys only hide it.
 */
export function listenToKeys(actions) {
  const names = new Map(KEYS.flatMap(([keys, name]) => keys.map((key) => [key, name])));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || takesText(event.target)) return;
    const name = names.get(event.key);
    if (!name || (name !== "help" && document.querySelector("dialog[open]"))) return;
    event.preventDefault();
    actions[name]();
  });
}

/** The rows of the help. */
export function keyRows() {
  return KEYS.map(([keys, , meaning]) => {
    const shown = keys.flatMap((key, place) => [...(place ? [" or "] : []), make("kbd", {}, key)]);
    return make("tr", {}, make("th", { scope: "row" }, ...shown), make("td", {}, meaning));
  });
}

/** Letters typed there mean something already: in lists they pick an entry, on a slider + and − may move it. */
function takesText(element) {
  return element.matches("input:not([type=radio]), select, textarea");
}
