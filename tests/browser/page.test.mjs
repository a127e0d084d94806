// The pure modules of the page: what its address says, how far a book can be trusted, rows, flashes, pictures.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { Book, crc32, digestOf, weight } from "../../web/depthcast.js";
import { Flashes } from "../../web/page/flashes.js";
import { paint, rangeOf, steady, volumesOf } from "../../web/page/heat.js";
import { History, twiceMid } from "../../web/page/history.js";
import { reachOf } from "../../web/page/reach.js";
import { DEFAULTS, GROUPS, LEVELS, fragmentOf, optionsOf, settingsIn } from "../../web/page/settings.js";
import { baseOf, queryOf, snippet } from "../../web/page/snippets.js";
import { agoText, standingOf } from "../../web/page/standing.js";
import { matching, neighbour } from "../../web/page/symbol_list.js";

test("an address says what is shown, and what makes no sense is the default", () => {
  const all = { symbol: "BTC-USD", view: "compare", levels: 100, group: 50, delay: 250, rate: 2000, code: "curl" };
  assert.deepEqual(settingsIn(fragmentOf(all)), all);
  assert.equal(fragmentOf({ ...DEFAULTS, symbol: "BTC-USD" }), "#BTC-USD");
  assert.deepEqual(settingsIn("#BTC-USD?levels=100"), { ...DEFAULTS, symbol: "BTC-USD", levels: 100 });
  const wrong = "#AAA?view=x&levels=7&group=3&delay=9999&rate=1&code=c&further=1&toString=1";
  assert.deepEqual(settingsIn(wrong), { ...DEFAULTS, symbol: "AAA" });
  for (const empty of ["", "#", "#?"]) assert.deepEqual(settingsIn(empty), { ...DEFAULTS });
  assert.equal(settingsIn("#100%").symbol, "100%");
  assert.equal(settingsIn("#A%2FB").symbol, "A/B");
  assert.equal(settingsIn(fragmentOf({ ...DEFAULTS, symbol: "100%?x=1" })).symbol, "100%?x=1");
});

test("only the book is shown in groups", () => {
  assert.deepEqual(optionsOf({ view: "book", levels: 25, group: 10 }), { depth: 25, group: 10 });
  assert.deepEqual(optionsOf({ view: "compare", levels: 25, group: 10 }), { depth: 25, group: 1 });
  assert.ok(GROUPS.includes(DEFAULTS.group) && LEVELS.includes(DEFAULTS.levels));
});

const ALARMING = ["lost", "ended", "refused", "removed", "stale", "silent"];
const BOOK = { seq: 5 };
const OPEN = {
  connection: "open", lost: null, retryInMs: 0, silent: false, refusal: "", paused: false, waking: false,
};
const LIVE = { symbol: "AAA", state: "live", stale: false, staleReason: null, book: BOOK };

test("only a view that is live on an open connection is live", () => {
  assert.deepEqual(standingOf({ ...OPEN, view: LIVE }), { state: "live", word: "live", alarm: "", next: "" });
  const states = [
    [{ connection: "connecting" }, "connecting"],
    [{ connection: "connecting", lost: "" }, "lost"],
    [{ connection: "waiting", lost: "" }, "lost"],
    [{ connection: "ended", lost: "" }, "ended"],
    [{ refusal: "no" }, "refused"],
    [{ paused: true }, "paused"],
    [{ silent: true }, "silent"],
    [{ silent: true, connection: "waiting", lost: "" }, "lost"],
    [{ silent: true, paused: true }, "silent"],
    [{ waking: true }, "resuming"],
    [{ waking: true, view: { ...LIVE, state: "stale", stale: true } }, "stale"],
    [{ view: null }, "waiting"],
    [{ view: { ...LIVE, state: "removed" } }, "removed"],
    [{ view: { ...LIVE, state: "stale", stale: true } }, "stale"],
    [{ view: { ...LIVE, state: "stale", stale: true, book: { seq: 0 } } }, "stale"],
    [{ view: { ...LIVE, state: "stale", stale: true, staleReason: "gap" } }, "stale"],
    [{ view: { ...LIVE, state: "stale" } }, "resuming"],
    [{ view: { ...LIVE, state: "stale", book: { seq: 0 } } }, "waiting"],
    [{ view: { ...LIVE, state: "stale", stale: true }, paused: true }, "stale"],
  ];
  for (const [change, state] of states) {
    const found = standingOf({ ...OPEN, view: LIVE, ...change });
    assert.equal(found.state, state, JSON.stringify(change));
    assert.equal(Boolean(found.alarm), ALARMING.includes(state), JSON.stringify(change));
  }
});

test("an alarm says why and what comes next", () => {
  const lost = standingOf({ ...OPEN, view: LIVE, connection: "waiting", lost: "restarting", retryInMs: 2100 });
  assert.equal(lost.alarm, "No connection to the gateway (restarting).");
  assert.equal(lost.next, "Trying again in 3 s.");
  const stale = { ...LIVE, state: "stale", stale: true, staleReason: "checksum" };
  assert.match(standingOf({ ...OPEN, view: stale }).alarm, /checksum/);
  const unfed = { ...LIVE, state: "stale", stale: true, inputAgeMs: 61_000 };
  assert.equal(standingOf({ ...OPEN, view: unfed }).alarm, "Nothing about AAA had come from its source for 1 min 1 s.");
  assert.deepEqual([0, 999, 12_400, 63_000, -5].map(agoText), ["0 s ago", "0 s ago", "12 s ago", "1 min 3 s ago", "0 s ago"]);
});

test("a level flashes when its quantity changes, and not when it comes into the view from outside", () => {
  const flashes = new Flashes();
  flashes.take("bids", [[10, 5], [9, 5]], 0);
  assert.equal(flashes.of("bids", 10), "", "the first levels are no change");
  flashes.take("bids", [[11, 1], [10, 6], [8, 7]], 100);
  assert.deepEqual([11, 10, 8].map((price) => flashes.of("bids", price)), ["up", "up", ""]);
  flashes.take("bids", [[11, 1], [10, 2], [8, 7]], 300);
  assert.equal(flashes.of("bids", 10), "down");
  flashes.take("asks", [[12, 1]], 300);
  flashes.take("asks", [[11, 3], [12, 1], [13, 1]], 301);
  assert.deepEqual([11, 12, 13].map((price) => flashes.of("asks", price)), ["up", "", ""]);
  const same = [[10, 2]];
  flashes.take("bids", same, 320);
  flashes.take("bids", same, 900);
  assert.equal(flashes.of("bids", 10), "", "it ends without a further change");
  flashes.reset();
  flashes.take("bids", [[10, 9]], 901);
  assert.equal(flashes.of("bids", 10), "");
});

test("a history is bounded, and has gaps where nothing was known", () => {
  const history = new History(1000, 100);
  for (let at = 0; at < 5000; at += 10) history.record(at, at);
  assert.equal(history.samples[0].at, 3900);
  assert.equal(history.samples.length, 11);
  history.cut(4500);
  assert.equal(history.samples.at(-1).at, 4500);
  history.record(4990, 1);
  history.record(4995, 2);
  assert.equal(history.runs.length, 1, "a skipped drawing is no gap");
  history.record(5600, 3);
  assert.deepEqual(history.runs.map((run) => run.map(({ at }) => at)), [[4990], [5600]]);
  history.forget(99_999);
  assert.deepEqual(history.samples, []);
  assert.equal(twiceMid({ bids: [[3, 1]], asks: [[6, 1]] }), 9);
  assert.equal(twiceMid({ bids: [], asks: [[6, 1]] }), null);
});

test("a history is of one subject: prices in other sizes are forgotten", () => {
  const history = new History(1000, 100);
  history.begin("0.01 1");
  history.record(0, 650);
  history.begin("0.01 1");
  assert.equal(history.samples.length, 1);
  history.begin("0.1 1");
  assert.deepEqual(history.samples, []);
});

test("a picture reaches as far as the book, but not to a level far away from all others", () => {
  const even = Array.from({ length: 10 }, (_, place) => [100 - place, 1]);
  assert.equal(reachOf(100, even), 9);
  assert.equal(reachOf(100, [...even, [1, 1]]), 20);
  assert.equal(reachOf(100, [[90, 1]], [[110, 1]]), 10);
  assert.equal(reachOf(100, [], []), 0);
  const { bins, ticks } = rangeOf([{ at: 0, value: { bids: [...even, [-1_000_000, 1]], asks: [] } }]);
  assert.ok(bins * ticks < 100, `${bins} × ${ticks}`);
});

test("the picture of depth has each level at its time and price", () => {
  const sample = (at, bids, asks) => ({ at, value: { bids, asks } });
  const samples = [sample(100, [[10, 3]], [[12, 5]]), sample(1100, [[11, 4]], [[13, 0.5]])];
  const range = rangeOf(samples);
  assert.ok(range.low <= 5 && range.low + range.bins * range.ticks >= 18, JSON.stringify(range));
  assert.equal(rangeOf([sample(0, [], [])]), null);
  const four = { low: 10, ticks: 1, bins: 4 };
  const { volumes, most } = volumesOf(samples.map((one) => [one]), four, 1200, 500, 3);
  assert.deepEqual([...volumes], [-3, 0, 5, 0, 0, 0, 0, 0, 0, -4, 0, 0.5]);
  assert.equal(most, 5);
  const pixels = new Uint8ClampedArray(3 * 4 * 4);
  paint(pixels, { volumes, most }, 3, 4, { bid: [1, 2, 3], ask: [4, 5, 6] });
  const pixel = (column, row) => [...pixels.slice(4 * (row * 3 + column), 4 * (row * 3 + column) + 4)];
  assert.deepEqual(pixel(0, 3).slice(0, 3), [1, 2, 3]); // the lowest price is the last row
  assert.deepEqual(pixel(0, 1), [4, 5, 6, 255]);
  assert.deepEqual(pixel(1, 0), [0, 0, 0, 0]);
  const wide = { low: 0, ticks: 1, bins: 120 };
  assert.equal(steady(wide, { low: 5, ticks: 1, bins: 100 }), wide);
  assert.notEqual(steady(wide, { low: 5, ticks: 1, bins: 10 }), wide);
  assert.notEqual(steady(wide, { low: -1, ticks: 1, bins: 100 }), wide);
});

test("each step of time has its own column, whenever it is drawn, and a skipped one shows the one before", () => {
  const samples = [490, 510, 1090, 2010].map((at) => ({ at, value: { bids: [[0, at]], asks: [] } }));
  const one = { low: 0, ticks: 1, bins: 1 };
  for (const now of [2010, 2300, 2499]) {
    assert.deepEqual([...volumesOf([samples], one, now, 500, 5).volumes], [-490, -510, -1090, -1090, -2010], `at ${now}`);
  }
  assert.deepEqual([...volumesOf([samples], one, 2500, 500, 3).volumes], [-1090, -2010, 0]);
  assert.deepEqual([...volumesOf([samples.slice(0, 2)], one, 9000, 500, 3).volumes], [0, 0, 0]);
});

test("a search finds beginnings first, whatever the case", () => {
  const rows = ["AAVE-USD", "BTC-EUR", "BTC-USD", "WBTC-USD"].map((symbol) => ({ symbol }));
  assert.deepEqual(matching(rows, " btc").map(({ symbol }) => symbol), ["BTC-EUR", "BTC-USD", "WBTC-USD"]);
  assert.equal(matching(rows, "").length, 4);
  assert.deepEqual(matching(rows, "x"), []);
  assert.equal(neighbour(rows, "WBTC-USD", 1), "AAVE-USD");
  assert.equal(neighbour(rows, "AAVE-USD", -1), "WBTC-USD");
  assert.equal(neighbour(rows, "gone", 1), "AAVE-USD");
});

test("programs name the gateway, the symbol, the depth and the grouping", () => {
  assert.equal(queryOf({ depth: 25, group: 1 }), "depth=25");
  assert.equal(baseOf("http://host:8080/#AAA?x=1"), "http://host:8080");
  assert.equal(baseOf("https://host/books/?q#AAA"), "https://host/books");
  for (const language of ["python", "js", "curl"]) {
    const text = snippet(language, "http://host:8080", "AAA", { depth: 25, group: 1 });
    for (const part of ["http://host:8080", "AAA", "25"]) assert.ok(text.includes(part), `${part} in ${language}`);
    assert.ok(!text.includes("group"));
    assert.match(snippet(language, "http://host:8080", "AAA", { depth: 25, group: 10 }), /group\W+10\b/);
  }
});

test("weights of prices are right, however far apart, and however often they displace each other", () => {
  const prices = [0, -1, 5, 5 + 2 ** 14, 5 - 2 ** 14, 5 + 2 ** 32, 2 ** 31, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER];
  for (const price of [...prices, ...prices.reverse()]) {
    for (const side of ["b", "a"]) assert.equal(weight(side, price), (crc32(side + price) | 1) >>> 0, `${side}${price}`);
  }
});

test("a page that stays open keeps no more, whatever prices it has seen", () => {
  const [book, heat, flashes] = [new Book(), new History(300_000, 500), new Flashes()];
  const collect = collector();
  let [now, seq, price] = [0, 1, 6_000_000];
  /** Half an hour of a market that goes up: every level is new. */
  const halfAnHour = () => {
    for (const end = now + 1_800_000; now < end; now += 250) {
      price += 11;
      const [bids, asks] = [[[price - 1, 5], [price - 2, 6]], [[price, 7], [price + 1, 8]]];
      book.replace({ seq: seq += 1, ts: now, bids, asks, digest: digestOf(bids, asks) });
      heat.record(now, { bids: book.best("bids"), asks: book.best("asks") });
      for (const side of ["bids", "asks"]) flashes.take(side, book.best(side), now);
    }
    collect();
    return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  };
  halfAnHour();
  const before = halfAnHour();
  for (let time = 0; time < 3; time += 1) halfAnHour();
  const grown = halfAnHour() - before;
  assert.ok(grown < 100_000, `${grown} bytes more after two hours`);
  assert.ok(heat.samples.length <= 601);
});

function collector() {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}
