// What the JavaScript client subscribes to: one symbol, lists, everything, and what becomes of refusals.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Session } from "../../web/depthcast.js";
import { DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL, table } from "./story.mjs";

const OTHER = "ETH-USD";

/** A session on an open connection, what it sent but for pings, these, and what it reported. */
function opened(options = {}) {
  const sent = [];
  const pings = [];
  const events = [];
  const session = new Session({
    ...options,
    send: ({ parts, ...message }) => {
      assert.equal(parts, message.op === "subscribe" ? true : undefined);
      (message.op === "ping" ? pings : sent).push(message);
    },
    tell: (kind, detail) => events.push([kind, detail]),
  });
  session.opened();
  const serve = (symbol, id) => {
    session.receive({ ...SUBSCRIBED, symbol, id });
    session.receive({ ...SNAPSHOT, symbol });
  };
  const states = () => Object.fromEntries([...session.views].map(([symbol, { state }]) => [symbol, state]));
  return { session, sent, pings, events, serve, states };
}

test("a list is one message and gives a view for each symbol", () => {
  const { session, sent, serve, states } = opened();
  const views = session.subscribe([SYMBOL, OTHER, SYMBOL], { depth: 5, intervalMs: 100 });
  assert.deepEqual(sent, [{ op: "subscribe", id: 1, symbols: [SYMBOL, OTHER], depth: 5, interval_ms: 100 }]);
  serve(OTHER, 1);
  assert.deepEqual(views.map(({ symbol, state }) => [symbol, state]), [[SYMBOL, "stale"], [OTHER, "live"]]);
  session.unsubscribe([SYMBOL, OTHER, "NONE"]);
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: [SYMBOL, OTHER] });
  assert.deepEqual([states(), views[1].state], [{}, "removed"]);
  assert.deepEqual(session.subscribe([]), []);
  assert.equal(sent.length, 2);
});

test('"*" brings every symbol of the gateway, also later ones', () => {
  const { session, sent, events, serve, states } = opened();
  const views = session.subscribe("*", { depth: 1 });
  assert.deepEqual(sent, [{ op: "subscribe", id: 1, symbols: ["*"], depth: 1, interval_ms: 0 }]);
  assert.equal(views, session.views);
  const names = Array.from({ length: 502 }, (_, number) => `S${number}`);
  for (const name of names) serve(name, 1);
  session.receive({ ...SUBSCRIBED, symbol: "LATER", id: undefined, depth: 1 });
  session.receive({ ...SNAPSHOT, symbol: "LATER" });
  assert.deepEqual(states(), Object.fromEntries([...names, "LATER"].map((name) => [name, "live"])));
  assert.equal(events.filter(([kind]) => kind === "update").length, 503);
  assert.deepEqual([session.counters.ignored, views.get("LATER").depth], [0, 1]);
});

test('"*" is subscribed again with what is held, in one message', () => {
  const { session, sent, serve, states } = opened();
  session.subscribe("*");
  serve(SYMBOL, 1);
  serve(OTHER, 1);
  session.subscribe(OTHER, { depth: 5 });
  serve(OTHER, 2);
  session.lost();
  assert.deepEqual(states(), { [SYMBOL]: "stale", [OTHER]: "stale" });
  const held = { seq: SNAPSHOT.seq, digest: SNAPSHOT.digest };
  sent.length = 0;
  session.opened();
  assert.deepEqual(sent, [
    { op: "subscribe", id: 3, symbols: ["*"], depth: 25, interval_ms: 0, resume: { [SYMBOL]: held } },
    { op: "subscribe", id: 4, symbols: [OTHER], depth: 5, interval_ms: 0, resume: { [OTHER]: held } },
  ]);
  // The gateway begins with the answers to "*", then the symbol's own subscription replaces one of them.
  for (const symbol of [SYMBOL, OTHER]) session.receive({ ...SUBSCRIBED, symbol, id: 3, resumed: true, seq: SNAPSHOT.seq });
  assert.deepEqual(states(), { [SYMBOL]: "live", [OTHER]: "stale" });
  session.receive({ ...SUBSCRIBED, symbol: OTHER, id: 4, resumed: true, seq: SNAPSHOT.seq });
  assert.deepEqual(states(), { [SYMBOL]: "live", [OTHER]: "live" });
});

test('a symbol that a new gateway lists only later is brought back by "*"', () => {
  const { session, serve, states } = opened();
  session.subscribe("*", { depth: 5 });
  serve(SYMBOL, 1);
  session.lost();
  session.opened();
  assert.deepEqual(states(), { [SYMBOL]: "stale" });
  serve(SYMBOL, undefined);
  assert.deepEqual(states(), { [SYMBOL]: "live" });
});

test('a symbol that was unsubscribed stays so beside "*"', () => {
  const { session, sent, serve, states } = opened();
  session.subscribe("*");
  serve(SYMBOL, 1);
  serve(OTHER, 1);
  session.unsubscribe(OTHER);
  session.lost();
  session.opened();
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: [OTHER] });
  serve(OTHER, 2);
  serve(OTHER, undefined);
  session.receive({ type: "error", code: "not_subscribed", message: "no", symbol: OTHER });
  assert.deepEqual(states(), { [SYMBOL]: "stale" });
  session.unsubscribe("*");
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: ["*"] });
  session.lost();
  sent.length = 0;
  session.opened();
  assert.deepEqual([sent, states()], [[], {}]);
});

test('a symbol of "*" that went away unseen is removed once the gateway has named all that there is', () => {
  const { session, pings, events, serve, states } = opened();
  session.subscribe("*");
  for (const symbol of [SYMBOL, OTHER, "OWN"]) serve(symbol, 1);
  session.subscribe("OWN", { depth: 5 });
  session.lost();
  session.opened();
  serve(SYMBOL, 3);
  session.receive({ type: "pong", id: pings[0].id, ts: 1 }); // of the connection before
  assert.deepEqual(states(), { [SYMBOL]: "live", [OTHER]: "stale", OWN: "stale" });
  session.receive({ type: "pong", id: pings[1].id, ts: 1 });
  assert.deepEqual(states(), { [SYMBOL]: "live", OWN: "stale" });
  assert.deepEqual(events.slice(-2).map(([kind]) => kind), ["status", "removed"]);
  assert.deepEqual(events.at(-1), ["removed", { symbol: OTHER, reason: "removed" }]);
});

for (const code of ["rate_limited", "unavailable"]) {
  test(`a symbol of "*" is kept while the gateway has not named all that there is: ${code}`, () => {
    const { session, pings, serve, states } = opened();
    session.subscribe("*");
    serve(SYMBOL, 1);
    session.lost();
    session.opened();
    session.receive({ type: "error", id: 2, code, message: "later" });
    session.receive({ type: "pong", id: pings.at(-1).id, ts: 1 });
    assert.deepEqual(states(), { [SYMBOL]: "stale" });
  });
}

test('a symbol that "*" has not brought yet can be unsubscribed', () => {
  const { session, sent, serve, states } = opened();
  session.subscribe("*");
  session.unsubscribe([OTHER, "no symbol"]);
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: [OTHER] });
  for (const symbol of [SYMBOL, OTHER]) serve(symbol, 1);
  assert.deepEqual(states(), { [SYMBOL]: "live" });
  sent.length = 0;
  session.lost();
  session.opened();
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: [OTHER] });
});

test('"*" replaces the options of what is subscribed', () => {
  const { session, sent, serve, states } = opened();
  const view = session.subscribe(SYMBOL, { depth: 5 });
  serve(SYMBOL, 1);
  session.subscribe("*", { depth: 1 });
  assert.deepEqual([view.depth, view.state, view.book.seq], [1, "stale", SNAPSHOT.seq]);
  assert.equal(sent.at(-1).resume, undefined); // a view of another depth
  serve(SYMBOL, 2);
  assert.deepEqual(states(), { [SYMBOL]: "live" });
});

test("a book that came under other options is not offered", () => {
  const { session, sent, serve } = opened();
  session.subscribe("*", { depth: 1 });
  serve(SYMBOL, 1);
  session.lost();
  session.subscribe("*", { depth: 5 });
  session.opened();
  assert.deepEqual(sent.at(-1), { op: "subscribe", id: 2, symbols: ["*"], depth: 5, interval_ms: 0 });
  serve(SYMBOL, 2);
  session.lost();
  session.opened();
  assert.deepEqual(sent.at(-1).resume, { [SYMBOL]: { seq: SNAPSHOT.seq, digest: SNAPSHOT.digest } });
});

test("levels are grouped on request, and only with a gateway that says so", () => {
  const { session, sent, events, serve, states } = opened();
  const [view] = session.subscribe([SYMBOL, OTHER], { depth: 5, group: 10 });
  assert.deepEqual(sent, [{ op: "subscribe", id: 1, symbols: [SYMBOL, OTHER], depth: 5, interval_ms: 0, group: 10 }]);
  assert.equal(view.group, 10);
  session.receive({ ...SUBSCRIBED, group: 10 });
  session.receive({ ...SNAPSHOT, group: 10 });
  serve(OTHER, 1); // as a gateway does that does not know of groups
  assert.deepEqual(states(), { [SYMBOL]: "live" });
  assert.deepEqual(sent.at(-1), { op: "unsubscribe", symbols: [OTHER] });
  const [problem] = events.filter(([kind]) => kind === "problem");
  assert.deepEqual([problem[1].code, problem[1].symbol], ["unsupported", OTHER]);
  assert.equal(session.subscribe(SYMBOL, { group: 1 }).group, 1);
  assert.ok(!("group" in sent.at(-1)));
});

test('what "*" brings of earlier options, or in another grouping, is not taken for the new ones', () => {
  const { session, states } = opened();
  const views = session.subscribe("*", { depth: 5 });
  session.subscribe("*", { depth: 5, group: 10 });
  session.receive({ ...SUBSCRIBED, id: undefined }); // listed before the gateway read the second one
  session.receive(SNAPSHOT);
  assert.deepEqual([states(), views.get(SYMBOL).book.seq], [{ [SYMBOL]: "stale" }, 0]);
  session.receive({ ...SUBSCRIBED, id: 2, group: 10 });
  session.receive({ ...SNAPSHOT, group: 10 });
  session.receive({ ...SUBSCRIBED, id: undefined, group: 10 }); // a new listing
  session.receive({ ...SNAPSHOT, group: 10, seq: SNAPSHOT.seq + 1 });
  assert.deepEqual(states(), { [SYMBOL]: "live" });
  session.subscribe("*", { depth: 5 });
  assert.deepEqual([states(), views.get(SYMBOL).group], [{ [SYMBOL]: "stale" }, 10]); // that is what the book is
  session.receive({ ...SUBSCRIBED, id: 3 });
  session.receive({ ...SNAPSHOT, seq: SNAPSHOT.seq + 1 });
  assert.deepEqual([states(), views.get(SYMBOL).group], [{ [SYMBOL]: "live" }, 1]);
});

test("many symbols are subscribed again in messages of equal options", () => {
  const { session, sent } = opened();
  session.lost();
  const names = Array.from({ length: 1200 }, (_, number) => `S${number}`);
  session.subscribe(names.slice(0, 1100));
  session.subscribe(names.slice(1100), { depth: 1 });
  session.opened();
  assert.deepEqual(sent.map(({ symbols, depth }) => [symbols.length, depth]), [...Array(11).fill([100, 25]), [100, 1]]);
  assert.deepEqual(sent.flatMap(({ symbols }) => symbols), names);
});

for (const [name, wrong] of [
  ["a number", 5], ["nothing", undefined], ["null", null], ["a list with a number", [SYMBOL, 5]], ["an object", {}],
  ['"*" beside others', ["*", SYMBOL]],
]) {
  test(`${name} is no symbol: a TypeError says what is`, () => {
    const { session, sent } = opened();
    assert.throws(() => session.subscribe(wrong), { name: "TypeError" });
    assert.throws(() => session.unsubscribe(wrong), { name: "TypeError" });
    assert.deepEqual([sent, session.views.size], [[], 0]);
  });
}

for (const options of [
  { depth: "25" }, { depth: -1 }, { depth: 2.5 }, { intervalMs: NaN }, { intervalMs: 5n }, { group: 0 }, { group: "10" },
  { orders: 1 }, { orders: true, group: 10 },
]) {
  test(`options of another type are a TypeError: ${Object.entries(options)}`, () => {
    const { session, sent } = opened();
    const [[name]] = Object.entries(options);
    assert.throws(() => session.subscribe(SYMBOL, options), { name: "TypeError", message: new RegExp(`^${name} is `) });
    assert.deepEqual([sent, session.views.size], [[], 0]);
  });
}

for (const text of ["", "BTC USD", "_x", "x".repeat(33), "\ud800", "BTC/USD"]) {
  test(`a text that can be no symbol is refused without asking: ${JSON.stringify(text)}`, () => {
    const { session, sent, events } = opened();
    const [view, good] = session.subscribe([text, SYMBOL]);
    assert.deepEqual([view.state, good.state], ["removed", "stale"]);
    assert.deepEqual(events.map(([kind, { code, symbol }]) => [kind, code, symbol]), [["problem", "unknown_symbol", text]]);
    assert.deepEqual(sent.map(({ symbols }) => symbols), [[SYMBOL]]);
  });
}

const ERRORS = table("error code | meaning").map(([cell]) => cell.replaceAll("`", ""));
const KEPT = new Set(["unavailable", "rate_limited", "not_subscribed"]);

for (const code of [...ERRORS, "of_a_later_version"]) {
  test(`the error ${code} ends what it concerns, and nothing else`, () => {
    const { session, events, serve, states } = opened();
    const error = (fields) => session.receive({ type: "error", code, message: "why", ...fields });
    session.subscribe([SYMBOL, OTHER]);
    serve(SYMBOL, 1);
    assert.equal(error({ id: 1 }), true); // of a message that was carried out in part
    assert.deepEqual(states(), KEPT.has(code) ? { [SYMBOL]: "live", [OTHER]: "stale" } : { [SYMBOL]: "live" });
    assert.equal(session.tryLater, code === "unavailable");
    assert.equal(session.postponed, code === "rate_limited");
    for (const fields of [{}, { id: 99 }, { id: "x" }, { symbol: "NONE" }, { symbol: SYMBOL }, { id: 1, symbol: SYMBOL }]) {
      assert.equal(error(fields), true);
      assert.equal(states()[SYMBOL], "live");
    }
    const said = events.filter(([kind]) => kind === "problem").map(([, detail]) => detail);
    assert.ok(said.every((detail) => detail.code === code && detail.text === "why"));
    assert.equal(said.length, { not_subscribed: 0, unavailable: 6 }[code] ?? 7);
  });
}

test("an error for one symbol of a list leaves the others", () => {
  const { session, events, serve, states } = opened();
  const [view] = session.subscribe([SYMBOL, OTHER]);
  session.receive({ type: "error", id: 1, code: "unknown_symbol", message: "no", symbol: SYMBOL });
  serve(OTHER, 1);
  assert.deepEqual([states(), view.state], [{ [OTHER]: "live" }, "removed"]);
  assert.deepEqual(events[0], ["status", { view }]);
});

test("what a listener subscribes to while a list is refused is not refused with it", () => {
  let again = null;
  const session = new Session({
    send() {},
    tell: (kind, { view }) => {
      if (kind === "status" && view.symbol === SYMBOL) again = session.subscribe(OTHER, { depth: 5 });
    },
  });
  session.opened();
  session.subscribe([SYMBOL, OTHER], { depth: 3 });
  session.receive({ type: "error", id: 1, code: "bad_depth", message: "no such depth" });
  assert.deepEqual([session.views.size, again.state], [1, "stale"]);
  assert.equal(session.views.get(OTHER), again);
});

test("a subscription that is refused a replacement is ended at the gateway too", () => {
  const { session, sent, serve, states } = opened();
  session.subscribe(SYMBOL);
  serve(SYMBOL, 1);
  session.subscribe(SYMBOL, { depth: 3 });
  session.receive({ type: "error", id: 2, code: "bad_depth", message: "no such depth" });
  assert.deepEqual([states(), sent.at(-1)], [{}, { op: "unsubscribe", symbols: [SYMBOL] }]);
});

test('"*" that is not allowed is given up', () => {
  const { session, sent, states } = opened();
  session.subscribe("*");
  session.receive({ type: "error", id: 1, code: "forbidden", message: "name the symbols" });
  session.lost();
  sent.length = 0;
  session.opened();
  assert.deepEqual([sent, states()], [[], {}]);
});

test('"*" goes on where single symbols exceed a limit', () => {
  const { session, sent, serve, states } = opened();
  session.subscribe("*", { depth: 0 });
  serve(SYMBOL, 1);
  session.receive({ type: "error", id: 1, code: "limit", message: "too deep", symbol: OTHER });
  session.receive({ type: "error", id: 1, code: "limit", message: "3 more symbols of this message were refused" });
  assert.deepEqual(states(), { [SYMBOL]: "live" });
  session.lost();
  session.opened();
  assert.deepEqual(sent.at(-1).symbols, ["*"]);
});

test("what was too much at a time is asked for again, and only that", () => {
  const { session, sent, serve, states } = opened();
  session.subscribe([SYMBOL, OTHER]);
  serve(SYMBOL, 1);
  session.receive({ type: "error", id: 1, code: "rate_limited", message: "after 1 symbols of this message" });
  sent.length = 0;
  session.askAgain();
  assert.deepEqual(sent.map(({ symbols }) => symbols), [[OTHER]]);
  serve(OTHER, 2);
  session.askAgain();
  assert.deepEqual([sent.length, states()], [1, { [SYMBOL]: "live", [OTHER]: "live" }]);
  session.subscribe("*");
  session.receive({ type: "error", id: 3, code: "rate_limited", message: "after 1 symbols of this message" });
  session.askAgain();
  assert.deepEqual(sent.at(-1).symbols, ["*"]);
});

test("a symbol that is withdrawn is reported as removed", () => {
  const { session, events, serve } = opened();
  const view = session.subscribe(SYMBOL);
  serve(SYMBOL, 1);
  session.receive({ type: "unsubscribed", symbol: SYMBOL, reason: "removed" });
  assert.equal(view.state, "removed");
  assert.deepEqual(events.slice(-2), [["status", { view }], ["removed", { symbol: SYMBOL, reason: "removed" }]]);
  session.receive({ ...DELTA });
  assert.equal(session.counters.ignored, 1);
});

test("what ends a replaced subscription does not end the new one", () => {
  const { session, events, serve, states } = opened();
  session.subscribe(SYMBOL, { depth: 0 });
  serve(SYMBOL, 1);
  session.subscribe(SYMBOL, { depth: 5 });
  session.receive({ type: "unsubscribed", symbol: SYMBOL, reason: "limit" }); // sent before the gateway read that
  serve(SYMBOL, 2);
  assert.deepEqual(states(), { [SYMBOL]: "live" });
  assert.ok(events.every(([kind]) => kind !== "removed"));
});

test('a symbol of "*" that is withdrawn while "*" is asked for again is gone until it is brought again', () => {
  const { session, serve, states } = opened();
  session.subscribe("*");
  serve(SYMBOL, 1);
  session.subscribe("*", { depth: 5 });
  session.receive({ type: "unsubscribed", symbol: SYMBOL, reason: "removed" });
  assert.deepEqual(states(), {});
  serve(SYMBOL, 2);
  assert.deepEqual(states(), { [SYMBOL]: "live" });
});

test("a listener may change subscriptions while the connection is lost", () => {
  const sent = [];
  const session = new Session({
    send: (message) => sent.push(message),
    tell: (kind, { view }) => {
      if (kind !== "status" || session.connected) return;
      session.unsubscribe(view.symbol);
      session.subscribe(view.symbol);
    },
  });
  session.opened();
  session.subscribe([SYMBOL, OTHER]);
  session.lost(); // comes to an end
  sent.length = 0;
  session.opened();
  assert.deepEqual(sent.flatMap(({ symbols }) => symbols), [SYMBOL, OTHER]);
});

test("credit with a pace is given back when the pace says so, all of it", () => {
  let pay = null;
  const paces = [];
  const { session, sent, serve } = opened({ creditWindow: 64, pace: (given) => paces.push((pay = given)) });
  assert.deepEqual(sent, [{ op: "credit", messages: 64 }]);
  session.subscribe([SYMBOL, OTHER]);
  serve(SYMBOL, 1);
  serve(OTHER, 1);
  session.receive(DELTA);
  assert.deepEqual([sent.length, paces.length], [2, 1]);
  pay();
  assert.deepEqual(sent.at(-1), { op: "credit", messages: 3 });
  serve(OTHER, 1);
  session.lost();
  pay(); // late, of the connection before
  session.opened();
  pay();
  assert.deepEqual(sent.filter(({ op }) => op === "credit").map(({ messages }) => messages), [64, 3, 64]);
  session.receive({ ...SNAPSHOT, symbol: "NONE" });
  assert.equal(paces.length, 3);
});
