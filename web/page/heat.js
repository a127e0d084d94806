/** The picture of a book over time: which colour each bin of price has at each step of time. Pure. */
import { reachOf } from "./reach.js";

const BINS_MAX = 120;
const ROOM = 1.15;
const REACH_LEAST = 5;
const WIDER_MAX = 1.5;

/**
 * The range of prices to show, null without any: `{ low, ticks, bins }`, bins of `ticks` ticks from `low` on. It has
 * every mid of `samples`, and room around them for the book as it reaches now.
 */
export function rangeOf(samples) {
  const mids = samples.map(({ value }) => midOf(value)).filter((mid) => mid !== null);
  if (!mids.length) return null;
  const { bids, asks } = samples.at(-1).value;
  const reach = Math.max(reachOf(mids.at(-1), bids, asks), REACH_LEAST) * ROOM;
  const [low, high] = [Math.min(...mids) - reach, Math.max(...mids) + reach];
  const ticks = Math.max(Math.ceil((high - low) / BINS_MAX), 1);
  const start = Math.floor(low / ticks) * ticks;
  return { low: start, ticks, bins: Math.floor((high - start) / ticks) + 1 };
}

/** Keep a range that still shows all that is wanted and is not much wider, so that the picture is steady. */
export function steady(kept, wanted) {
  if (!kept || !wanted) return wanted;
  const [keptTop, wantedTop] = [kept, wanted].map(({ low, ticks, bins }) => low + ticks * bins);
  const fits = kept.low <= wanted.low && keptTop >= wantedTop;
  return fits && keptTop - kept.low < WIDER_MAX * (wantedTop - wanted.low) ? kept : wanted;
}

/**
 * Volumes by column and bin: `{ volumes, most }`. `volumes` has `columns` × `bins` numbers, column by column; those of
 * bids are below zero, so that the side is known.
 *
 * Each column is a step of `stepMs`, the last one that of `now`. `runs` have at most one sample for each step; where a run
 * has none, the one before still holds.
 */
export function volumesOf(runs, { low, ticks, bins }, now, stepMs, columns) {
  const volumes = new Float64Array(columns * bins);
  const columnOf = ({ at }) => columns - 1 - Math.floor(now / stepMs) + Math.floor(at / stepMs);
  for (const run of runs) {
    run.forEach((sample, place) => {
      const end = place + 1 < run.length ? columnOf(run[place + 1]) : columnOf(sample) + 1;
      const begin = Math.max(columnOf(sample), 0);
      if (begin >= end) return; // too old
      const column = volumes.subarray(begin * bins, (begin + 1) * bins);
      addVolumes(column, sample.value, low, ticks);
      for (let held = begin + 1; held < end; held += 1) volumes.set(column, held * bins);
    });
  }
  return { volumes, most: volumes.reduce((most, volume) => Math.max(most, Math.abs(volume)), 0) };
}

function addVolumes(column, { bids, asks }, low, ticks) {
  for (const [levels, sign] of [[bids, -1], [asks, 1]]) {
    for (const [price, quantity] of levels) {
      const bin = Math.floor((price - low) / ticks);
      if (bin >= 0 && bin < column.length) column[bin] += sign * quantity;
    }
  }
}

/** Fill `pixels` (RGBA, row 0 on top) from volumes; colours are [red, green, blue], and more volume is more opaque. */
export function paint(pixels, { volumes, most }, columns, bins, { bid, ask }) {
  pixels.fill(0);
  const full = Math.log1p(most);
  for (let column = 0; column < columns; column += 1) {
    for (let bin = 0; bin < bins; bin += 1) {
      const volume = volumes[column * bins + bin];
      if (!volume) continue;
      const place = 4 * ((bins - 1 - bin) * columns + column);
      pixels.set(volume < 0 ? bid : ask, place);
      pixels[place + 3] = 255 * (0.12 + 0.88 * (Math.log1p(Math.abs(volume)) / full) ** 3);
    }
  }
}

/** The mid of a book, or the only best price there is; null for an empty one. */
function midOf({ bids, asks }) {
  const best = [bids[0], asks[0]].filter(Boolean).map(([price]) => price);
  return best.length ? (best[0] + best.at(-1)) / 2 : null;
}
