/** Rows of several ticks each, for display only. Pure. */

/**
 * Sum up `levels` of "bids" or "asks" (best first) in rows of `ticks` ticks, best first. Bids round down, asks up, so no
 * row is better than what is in it.
 *
 * Each row is exact. Levels beyond the view are not known, so the row in which a full view ends is left out; `whole`
 * says that there are none.
 */
export function grouped(levels, side, ticks, whole) {
  if (ticks === 1) return levels;
  const rows = [];
  for (const [price, quantity] of levels) {
    const start = rounded(price, ticks, side === "asks");
    if (rows.length && rows.at(-1)[0] === start) rows.at(-1)[1] += quantity;
    else rows.push([start, quantity]);
  }
  return whole ? rows : rows.slice(0, -1);
}

/** The multiple of `ticks` at or below a price, or at or above it; the remainder of integers is exact. */
function rounded(price, ticks, up) {
  const above = ((price % ticks) + ticks) % ticks;
  return above === 0 ? price : price - above + (up ? ticks : 0);
}
