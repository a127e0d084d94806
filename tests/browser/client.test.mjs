// Tests of the JavaScript client without a gateway: node --test tests/browser/client.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, Book, Client, Outcome, Session, crc32, difference, digestOf, weight } from "../../web/depthcast.js";
import { decimal, half, parsed, trimmed } from "../../web/format.js";
import { SlowLink } from "../../web/slow.js";
import { AFTER, DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL, Socket } from "./story.mjs";

const MERGED = {
  ...AFTER, prev_seq: 5485363200001, bids: [[6500010, 0], [6500005, 3], [6500007, 4]], asks: [[6500020, 5]], merged: 2,
};

function following(options = {}) {
  const sent = [];
  const notified = [];
  const session = new Session({
    ...options, send: (message) => sent.push(message), tell: (kind, detail) => notified.push([kind, detail]),
  });
  const view = session.subscribe(SYMBOL, { depth: 5 });
  session.opened();
  session.receive(SUBSCRIBED);
  session.receive(SNAPSHOT);
  return { session, view, sent, notified };
}

test("digests of the contract", () => {
  assert.equal(digestOf([], []), 0);
  assert.equal(digestOf([[6500010, 5], [6500000, 12]], [[6500020, 7]]), 254150328);
  assert.equal(digestOf([[-25, 9007199254740991]], [[0, 1]]), 3769160512);
  assert.equal(digestOf([[1, 4294967297]], []), 1204558817);
  assert.equal(crc32("b6500010"), 0xfd0dec70);
  assert.equal(weight("b", 6500010), 4245548145);
  assert.equal(crc32("BTC-USD"), 515687408);
});

test("a book follows the rule of continuity", () => {
  const book = new Book();
  assert.equal(book.apply(DELTA), Outcome.GAP);
  assert.equal(book.replace(SNAPSHOT), Outcome.APPLIED);
  assert.equal(book.apply(AFTER), Outcome.GAP);
  assert.equal(book.apply(DELTA), Outcome.APPLIED);
  assert.equal(book.apply(DELTA), Outcome.ALREADY);
  assert.equal(book.apply(AFTER), Outcome.APPLIED);
  assert.deepEqual(book.best("bids"), [[6500007, 4], [6500005, 3], [6500000, 12]]);
  assert.deepEqual(book.best("asks", 1), [[6500020, 5]]);
  const merged = new Book();
  merged.replace(SNAPSHOT);
  assert.equal(merged.apply(MERGED), Outcome.APPLIED);
  assert.deepEqual(difference(book, merged), { bids: new Set(), asks: new Set() });
});

test("prev_seq 0 applies to a reader without the symbol", () => {
  const book = new Book();
  assert.equal(book.apply({ prev_seq: 0, seq: 7, ts: 1, bids: [], asks: [], digest: 0 }), Outcome.APPLIED);
  assert.equal(book.seq, 7);
});

test("a wrong digest changes nothing", () => {
  const book = new Book();
  book.replace(SNAPSHOT);
  assert.equal(book.apply({ ...DELTA, digest: 1 }), Outcome.MISMATCH);
  assert.equal(book.replace({ ...SNAPSHOT, bids: [] }), Outcome.MISMATCH);
  assert.equal(book.seq, SNAPSHOT.seq);
  assert.equal(book.apply(DELTA), Outcome.APPLIED);
});

test("the best levels are the first of all of them in order", () => {
  const book = new Book();
  const prices = Array.from({ length: 150 }, (_, number) => ((number * 37) % 151) - 75); // each once, in no order
  const rows = prices.map((price) => [price, 1]);
  book.replace({ ...SNAPSHOT, bids: rows, asks: rows, digest: digestOf(rows, rows) });
  for (const [side, sign] of [["bids", -1], ["asks", 1]]) {
    const sorted = rows.toSorted((a, b) => sign * (a[0] - b[0]));
    for (const count of [0, 1, 7, 100, 101, 149, 150, 151, Infinity]) assert.deepEqual(book.best(side, count), sorted.slice(0, count));
    assert.deepEqual([book.best(side, 2.5).length, book.best(side, -1).length], [2, 0]);
  }
});

test("books that differ", () => {
  const [one, other] = [new Book(), new Book()];
  one.replace(SNAPSHOT);
  other.replace(SNAPSHOT);
  one.apply(DELTA);
  assert.deepEqual(difference(one, other), { bids: new Set([6500005, 6500010]), asks: new Set([6500020]) });
});

test("a session subscribes and follows", () => {
  const { session, view, sent, notified } = following();
  session.receive(DELTA);
  assert.deepEqual(sent, [{ op: "subscribe", id: 1, symbols: [SYMBOL], depth: 5, interval_ms: 0, parts: true }]);
  assert.deepEqual([view.state, view.book.seq, view.tickSize], ["live", DELTA.seq, "0.01"]);
  assert.deepEqual(notified.map(([kind]) => kind), ["status", "update", "update"]);
});

for (const [name, wrong, counter] of [
  ["gap", AFTER, "gaps"],
  ["wrong digest", { ...DELTA, digest: 1 }, "mismatches"],
]) {
  test(`a ${name} leads to a new subscription, and old deltas are ignored meanwhile`, () => {
    const { session, view, sent } = following();
    session.receive(wrong);
    assert.deepEqual([view.state, view.book.seq, session.counters[counter]], ["stale", SNAPSHOT.seq, 1]);
    assert.equal(sent.at(-1).id, 2);
    assert.equal(sent.at(-1).resume, undefined);
    session.receive(DELTA);
    session.receive({ ...SUBSCRIBED, id: 1 });
    session.receive(SNAPSHOT);
    assert.equal(view.state, "stale");
    session.receive({ ...SUBSCRIBED, id: 2 });
    session.receive({ ...SNAPSHOT, seq: AFTER.seq });
    assert.deepEqual([view.state, view.book.seq, session.counters.ignored], ["live", AFTER.seq, 2]);
  });
}

test("a gateway that is wrong for ever is given up", () => {
  const { session, notified } = following();
  for (let id = 2; session.views.size; id += 1) {
    session.receive({ ...DELTA, digest: 1 });
    session.receive({ ...SUBSCRIBED, id });
    session.receive({ ...SNAPSHOT, digest: 1 });
    session.receive({ ...SUBSCRIBED, id: (id += 1) });
    assert.ok(id < 50);
  }
  assert.equal(notified.find(([kind]) => kind === "problem")[1].code, "inconsistent");
});

test("a lost connection is resumed from what is held", () => {
  const { session, view, sent } = following();
  session.receive(DELTA);
  session.lost();
  assert.equal(view.state, "stale");
  session.opened();
  assert.deepEqual(sent.at(-1).resume, { [SYMBOL]: { seq: DELTA.seq, digest: DELTA.digest } });
  session.receive({ ...SUBSCRIBED, id: 2, resumed: true, seq: DELTA.seq - 1 });
  assert.deepEqual([view.state, view.book.seq, session.counters.resumed], ["live", DELTA.seq - 1, 1]);
  session.receive({ ...AFTER, prev_seq: DELTA.seq - 1 });
  assert.equal(view.book.seq, AFTER.seq);
});

test("a snapshot that comes again does not take the book back", () => {
  const { session, view } = following();
  session.receive(DELTA);
  session.receive(SNAPSHOT);
  assert.deepEqual([view.state, view.book.seq, session.counters.ignored], ["live", DELTA.seq, 1]);
  session.receive(AFTER);
  assert.equal(view.book.seq, AFTER.seq);
});

test("a gateway that resumes what was not offered is asked for a snapshot", () => {
  const { session, view, sent } = following();
  session.receive({ ...DELTA, digest: 1 });
  session.receive({ ...SUBSCRIBED, id: 2, resumed: true, seq: DELTA.seq });
  assert.deepEqual([view.state, session.counters.resumed], ["stale", 0]);
  session.receive(AFTER);
  assert.deepEqual([view.state, view.book.seq, sent.at(-1).id], ["stale", SNAPSHOT.seq, 3]);
});

test("credit comes first, and is given back as messages are taken", () => {
  const { session, sent } = following({ creditWindow: 1 });
  assert.deepEqual(sent[0], { op: "credit", messages: 1 });
  assert.deepEqual(sent.slice(2), [{ op: "credit", messages: 1 }]);
  session.receive({ ...SNAPSHOT, symbol: "OLD-USD" });
  assert.equal(sent.length, 4);
  session.receive({ type: "status", symbol: SYMBOL, state: "stale" });
  assert.equal(sent.length, 4);
});

test("the reason of a producer for doubt shows while it holds", () => {
  const { session, view } = following();
  session.receive({ type: "status", symbol: SYMBOL, state: "stale", reason: "gap" });
  assert.deepEqual([view.state, view.staleReason], ["stale", "gap"]);
  session.receive({ type: "status", symbol: SYMBOL, state: "live" });
  assert.deepEqual([view.state, view.staleReason], ["live", null]);
});

test("a reason that is no text is none", () => {
  const { session, view } = following();
  session.receive({ type: "status", symbol: SYMBOL, state: "stale", reason: 5 });
  assert.deepEqual([view.state, view.staleReason], ["stale", null]);
});

test("status, removal and refusals are passed on", () => {
  const { session, view, notified } = following();
  session.receive({ type: "status", symbol: SYMBOL, state: "stale" });
  assert.equal(view.state, "stale");
  session.receive({ type: "unsubscribed", symbol: SYMBOL, reason: "removed" });
  assert.deepEqual(notified.at(-1), ["removed", { symbol: SYMBOL, reason: "removed" }]);
  session.subscribe("NOPE");
  session.receive({ type: "error", id: 2, code: "unknown_symbol", message: "no", symbol: "NOPE" });
  assert.equal(notified.at(-1)[1].code, "unknown_symbol");
  assert.equal(session.views.size, 0);
  session.subscribe(SYMBOL);
  session.receive({ type: "error", id: 3, code: "unavailable", message: "not yet" });
  assert.deepEqual([session.tryLater, session.views.size], [true, 1]);
});

async function next(client, state) {
  while (client.state !== state) await new Promise((resolve) => client.addEventListener("state", resolve, { once: true }));
  return Socket.made.at(-1);
}

test("a client comes back after a lost connection, and not after a final close code", async () => {
  const client = new Client("http://gateway.test/base/", { WebSocket: Socket, backoffMs: [1, 4] });
  client.subscribe(SYMBOL, { depth: 5 });
  const socket = Socket.made.at(-1);
  assert.equal(socket.url, "ws://gateway.test/base/v1/ws");
  socket.onopen();
  socket.bring({ type: "welcome", heartbeat_ms: 5000 });
  socket.bring(SUBSCRIBED);
  socket.bring(SNAPSHOT);
  assert.equal(client.view(SYMBOL).state, "live");
  socket.onclose({ code: 1012, reason: "restarting" });
  assert.equal(client.view(SYMBOL).state, "stale");
  const second = await next(client, "connecting");
  assert.notEqual(second, socket);
  second.onopen();
  assert.deepEqual(second.sent[0].resume, { [SYMBOL]: { seq: SNAPSHOT.seq, digest: SNAPSHOT.digest } });
  assert.equal(client.counters.reconnects, 1);
  second.onclose({ code: 4401, reason: "" });
  assert.equal(client.state, "ended");
  client.close();
});

for (const when of ["waiting", "connecting"]) {
  test(`a client that is closed in its state "${when}" stays closed`, async () => {
    const client = new Client("http://gateway.test/base/", { WebSocket: Socket, backoffMs: [1, 1] });
    client.addEventListener("state", ({ detail }) => {
      if (detail.state === when) client.close();
    });
    const made = Socket.made.length;
    const ended = next(client, "ended");
    Socket.made.at(-1).onclose({ code: 1006, reason: "" });
    await ended;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(client.state, "ended");
    assert.equal(Socket.made.length, made);
  });
}

test("a client that is closed when its view becomes stale stays closed", async () => {
  const client = new Client("http://gateway.test/base/", { WebSocket: Socket, backoffMs: [1, 1] });
  client.subscribe(SYMBOL, { depth: 5 });
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail.state));
  client.addEventListener("status", () => client.close());
  const made = Socket.made.length;
  Socket.made.at(-1).onclose({ code: 1006, reason: "" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  client.close();
  assert.deepEqual(states, ["ended"]);
  assert.equal(Socket.made.length, made);
});

test("waits grow up to a bound and start again", () => {
  const backoff = new Backoff(100, 300, () => 1);
  assert.deepEqual([backoff.nextMs(), backoff.nextMs(), backoff.nextMs(), backoff.nextMs()], [100, 200, 300, 300]);
  backoff.reset();
  assert.equal(backoff.nextMs(), 100);
});

test("a slow link keeps the order, holds while paused and forgets on reset", async () => {
  const link = new SlowLink();
  const passed = [];
  link.set({ paused: true });
  for (const number of [1, 2, 3]) link.deliver(10, () => passed.push(number));
  assert.deepEqual([passed, link.waiting], [[], 3]);
  link.set({ paused: false, delayMs: 1, bytesPerSecond: 10_000 });
  await new Promise((resolve) => link.deliver(10, resolve));
  assert.deepEqual(passed, [1, 2, 3]);
  link.set({ paused: true });
  link.deliver(10, () => passed.push(4));
  link.reset();
  link.set({ paused: false, delayMs: 0, bytesPerSecond: Infinity });
  link.deliver(10, () => passed.push(5));
  assert.deepEqual(passed, [1, 2, 3, 5]);
});

test("text of ticks and lots is exact", () => {
  assert.equal(decimal(6500010, parsed("0.01")), "65000.10");
  assert.equal(decimal(-3, parsed("0.25")), "-0.75");
  assert.equal(decimal(6500010, "0.01"), "65000.10");
  assert.equal(decimal(9007199254740991, parsed("0.00000001")), "90071992.54740991");
  assert.equal(decimal(7, parsed("5")), "35");
  assert.equal(decimal(13, half(parsed("0.01"))), "0.065");
  assert.deepEqual(trimmed(["10.000", "2.500", "0.000"]), ["10.0", "2.5", "0.0"]);
  assert.deepEqual(trimmed(["10.000", "0.000"]), ["10", "0"]);
  assert.deepEqual(trimmed(["100", "50"]), ["100", "50"]);
});

test("the newest time at the source is kept until another one comes, or a snapshot without", () => {
  const { session, view } = following();
  assert.equal(view.book.eventTs, null);
  session.receive({ ...DELTA, event_ts: 1769904000199000 });
  assert.equal(view.book.eventTs, 1769904000199000);
  session.receive(AFTER);
  assert.equal(view.book.eventTs, 1769904000199000);
  session.receive({ ...SNAPSHOT, seq: AFTER.seq + 1, event_ts: "soon" });
  assert.deepEqual([view.book.eventTs, view.state], [null, "live"]);
});

test("a view says how old the last input is while it is stale for that", () => {
  const { session, view } = following();
  const status = { type: "status", symbol: SYMBOL, state: "stale" };
  session.receive({ ...status, input_age_ms: 61_000 });
  const top = view.top();
  assert.deepEqual([view.state, view.inputAgeMs, top.inputAgeMs], ["stale", 61_000, 61_000]);
  session.receive({ ...status, reason: "gap" });
  assert.deepEqual([view.inputAgeMs, view.staleReason], [null, "gap"]);
  assert.notEqual(view.top(), top);
  session.receive({ ...status, state: "live", input_age_ms: 5 });
  assert.deepEqual([view.state, view.inputAgeMs, view.staleReason], ["live", null, null]);
});

test("a delta before the last part of a snapshot is a gap", () => {
  const { session, view, sent } = following();
  session.receive({ ...SNAPSHOT, seq: DELTA.seq, asks: [], part: 1, parts: 2 });
  assert.deepEqual([view.state, session.counters.snapshots], ["live", 1]);
  session.receive(DELTA);
  assert.deepEqual([view.state, view.book.seq, session.counters.gaps], ["stale", SNAPSHOT.seq, 1]);
  assert.equal(sent.at(-1).op, "subscribe");
});
