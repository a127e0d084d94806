/** How far from the middle of a book a picture of it reaches. Pure. */

/** A level this many times farther away than the usual one is left out: it would squeeze all others together. */
const OUTLYING = 4;

/** The greatest distance in ticks between `mid` and the levels of `sides`, lists of [price, quantity]; 0 without any. */
export function reachOf(mid, ...sides) {
  const away = sides.flat().map(([price]) => Math.abs(price - mid)).sort((one, other) => one - other);
  if (!away.length) return 0;
  return Math.min(away.at(-1), OUTLYING * away[Math.floor(away.length / 2)]);
}
