// What users of the JavaScript client hold and wait for: the top of a view, iteration, the hook, paced credit.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { Client, ConnectionEnded, animationFrame } from "../../web/depthcast.js";
import { bookHook, bookStore } from "../../web/react.js";
import { AFTER, DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL, Socket } from "./story.mjs";

const OTHER = "ETH-USD";
const clients = [];

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function connected(options = {}) {
  const client = new Client("http://gateway.test", { WebSocket: Socket, ...options });
  clients.push(client);
  Socket.last.open();
  return { client, socket: Socket.last };
}

function live(options = {}) {
  const { client, socket } = connected(options);
  const view = client.subscribe(SYMBOL, { depth: 5 });
  socket.serve();
  return { client, socket, view };
}

const microtasks = () => new Promise((resolve) => setImmediate(resolve));

test("the top of a view is frozen and has text for its numbers", () => {
  const { view } = live();
  const top = view.top(1);
  assert.deepEqual([top.bids, top.asks, top.state, top.staleReason], [[[6500010, 5]], [[6500020, 7]], "live", null]);
  assert.deepEqual([top.symbol, top.price(6500010), top.quantity(5)], [SYMBOL, "65000.10", "0.005"]);
  assert.deepEqual(view.top().bids, SNAPSHOT.bids);
  for (const count of [-1, NaN, "x"]) assert.throws(() => view.top(count), { name: "RangeError" });
  for (const value of [top, top.bids, top.asks, top.bids[0]]) assert.ok(Object.isFrozen(value));
  assert.throws(() => {
    top.state = "stale";
  }, TypeError);
});

test("the top of a view is the same object until something in it changes, and shares what did not", () => {
  const { view, socket } = live();
  const [first, both] = [view.top(1), view.top(2)];
  assert.equal(view.top(1), first);
  socket.bring(DELTA); // the best bid goes, the ask changes, the second bid stays
  const next = view.top(2);
  assert.notEqual(next, both);
  assert.equal(next.bids[1], both.bids[1]);
  assert.deepEqual(next.bids, [[6500005, 3], [6500000, 12]]);
  const ask = next.asks;
  socket.bring(AFTER); // only a bid is new
  assert.equal(view.top(2).asks, ask);
  const best = view.top(1);
  socket.bring({
    ...AFTER, prev_seq: AFTER.seq, seq: AFTER.seq + 1, bids: [[6500000, 13]], digest: (AFTER.digest + 3826703665) % 2 ** 32,
  });
  assert.equal(view.book.seq, AFTER.seq + 1);
  assert.equal(view.top(1), best); // the change is below
  assert.equal(view.top(3).bids[2][1], 13);
  assert.deepEqual(first.bids, [[6500010, 5]]);
});

test("a change of state or sizes is a change of the top", () => {
  const { view, socket } = live();
  const tops = [view.top(5)];
  const changed = () => {
    tops.push(view.top(5));
    assert.notEqual(tops.at(-1), tops.at(-2));
    assert.equal(tops.at(-1).bids, tops[0].bids);
    return tops.at(-1);
  };
  socket.bring({ type: "status", symbol: SYMBOL, state: "stale", reason: "gap" });
  assert.deepEqual([changed().state, view.top(5).staleReason], ["stale", "gap"]);
  socket.bring({ type: "status", symbol: SYMBOL, state: "live" });
  assert.equal(changed().state, "live");
  socket.bring({ ...SUBSCRIBED, id: undefined, tick_size: "0.5" });
  assert.deepEqual([changed().state, view.top(5).tickSize], ["stale", "0.01"]);
  socket.bring({ ...SNAPSHOT, seq: SNAPSHOT.seq + 1 });
  assert.deepEqual([changed().state, view.top(5).tickSize], ["live", "0.5"]);
  socket.end(1006);
  assert.equal(changed().state, "stale");
});

test("iteration begins with what is there and conflates what nobody took", async () => {
  const { client, socket } = connected();
  client.subscribe([SYMBOL, OTHER]);
  socket.serve();
  const views = client[Symbol.asyncIterator]();
  assert.deepEqual([(await views.next()).value.symbol, (await views.next()).value.symbol], [SYMBOL, OTHER]);
  const waiting = views.next();
  socket.bring(DELTA);
  assert.equal((await waiting).value.book.seq, DELTA.seq);
  socket.bring(AFTER);
  socket.bring({ ...DELTA, symbol: OTHER });
  socket.bring({ ...AFTER, symbol: OTHER });
  const taken = [await views.next(), await views.next()].map(({ value }) => [value.symbol, value.book.seq]);
  assert.deepEqual(taken, [[SYMBOL, AFTER.seq], [OTHER, AFTER.seq]]);
  socket.end(1006); // both are stale now
  assert.deepEqual([(await views.next()).value.state, (await views.next()).value.state], ["stale", "stale"]);
});

test("iteration ends with the client, and with its loop", async () => {
  const { client } = live();
  for await (const view of client) {
    assert.equal(view.symbol, SYMBOL);
    break;
  }
  const seen = [];
  for await (const view of client) {
    seen.push(view.state);
    if (seen.length === 1) setImmediate(() => client.close());
  }
  assert.deepEqual(seen, ["live"]);
  for await (const view of client) assert.fail(view.symbol);
});

test("iteration throws when the gateway ends the connection for good", async () => {
  const { client, socket } = live();
  const views = client[Symbol.asyncIterator]();
  await views.next();
  const waiting = views.next();
  socket.end(4408, "no subscription in time");
  await assert.rejects(waiting, (error) => {
    assert.ok(error instanceof ConnectionEnded);
    assert.deepEqual([error.code, error.reason], [4408, "no subscription in time"]);
    return true;
  });
  assert.equal((await views.next()).done, true);
});

test("credit is given back when the browser draws, and not while the tab is hidden", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (draw) => frames.push(draw);
  try {
    const { socket } = live({ pace: animationFrame });
    const credit = () => socket.sent.filter(({ op }) => op === "credit").map(({ messages }) => messages);
    socket.bring(DELTA);
    socket.bring(AFTER);
    assert.deepEqual([credit(), frames.length], [[64], 1]);
    frames.shift()(16.6);
    assert.deepEqual(credit(), [64, 3]);
    delete globalThis.requestAnimationFrame;
    socket.bring({ ...SNAPSHOT, seq: AFTER.seq + 1 });
    assert.deepEqual(credit(), [64, 3, 1]);
  } finally {
    delete globalThis.requestAnimationFrame;
  }
});

// --- the hook

/** A component as React runs one: what it shows, and how often it was drawn. */
function component(client, symbol, options) {
  const shown = { draws: 0, book: null, unmount: null };
  let subscribed = null;
  const useBook = bookHook((subscribe, snapshot, onServer) => {
    assert.equal(snapshot(), snapshot(), "React would draw without end");
    assert.equal(onServer(), snapshot());
    if (subscribe !== subscribed) {
      shown.unmount?.();
      shown.unmount = subscribe(() => {
        if (snapshot() !== shown.book) draw();
      });
      subscribed = subscribe;
    }
    return snapshot();
  });
  function draw() {
    shown.draws += 1;
    shown.book = useBook(client, symbol, options);
  }
  draw();
  return Object.assign(shown, { draw });
}

test("a component shows a book, and is drawn only when that changes", async () => {
  const { client, socket } = connected();
  const shown = component(client, SYMBOL, { depth: 5 });
  assert.deepEqual([shown.book.bids, shown.book.state], [[], "stale"]);
  await microtasks();
  assert.deepEqual(socket.sent.map(({ op, symbols, depth }) => [op, symbols, depth]), [["subscribe", [SYMBOL], 5]]);
  socket.serve();
  assert.deepEqual([shown.book.bids, shown.book.state, shown.book.price(6500010)], [SNAPSHOT.bids, "live", "65000.10"]);
  const { draws } = shown;
  socket.bring({ type: "status", symbol: SYMBOL, state: "live" });
  assert.equal(shown.draws, draws);
  socket.bring(DELTA);
  assert.equal(shown.draws, draws + 1);
  socket.end(1006);
  assert.equal(shown.book.state, "stale");
});

test("components share a subscription that is deep enough for all", async () => {
  const { client, socket } = connected();
  const sent = () => socket.sent.splice(0).map(({ op, depth, interval_ms: interval }) => [op, depth, interval]);
  const small = component(client, SYMBOL, { depth: 1, intervalMs: 100 });
  await microtasks();
  socket.serve();
  sent();
  const large = component(client, SYMBOL, { depth: 5 });
  await microtasks();
  assert.deepEqual(sent(), [["subscribe", 5, 0]]);
  assert.deepEqual([small.book.bids.length, small.book.state], [1, "stale"]); // the old view is shown meanwhile
  socket.bring({ ...SUBSCRIBED, id: 2 });
  socket.bring(SNAPSHOT);
  assert.deepEqual([small.book.bids.length, large.book.bids.length, small.book.state], [1, 2, "live"]);
  large.unmount();
  small.unmount();
  await microtasks();
  assert.deepEqual(sent(), [["unsubscribe", undefined, undefined]]);
  assert.equal(client.view(SYMBOL), undefined);
  small.draw();
  assert.deepEqual(small.book.bids, []);
});

test("a component that is mounted twice at once, as React does in strict mode, subscribes once", async () => {
  const { client, socket } = connected();
  const { subscribe } = bookStore(client, SYMBOL);
  const end = subscribe(() => {});
  end();
  subscribe(() => {});
  await microtasks();
  assert.deepEqual(socket.sent.map(({ op }) => op), ["subscribe"]);
  assert.equal(bookStore(client, SYMBOL), bookStore(client, SYMBOL, { depth: 25, intervalMs: 0 }));
});

test("a component never shows levels of another grouping than its own", async () => {
  const { client, socket } = connected();
  const serve = (fields) => {
    const { id } = socket.sent.findLast(({ op }) => op === "subscribe");
    socket.bring({ ...SUBSCRIBED, id, ...fields });
    socket.bring({ ...SNAPSHOT, ...fields });
  };
  const plain = component(client, SYMBOL, { depth: 5 });
  await microtasks();
  serve({});
  assert.deepEqual([plain.book.state, plain.book.bids], ["live", SNAPSHOT.bids]);
  const grouped = component(client, SYMBOL, { depth: 1, group: 10 });
  await microtasks();
  assert.deepEqual([socket.sent.at(-1).group, socket.sent.at(-1).depth], [10, 1]);
  assert.deepEqual([plain.book.state, grouped.book.bids], ["stale", []]);
  serve({ group: 10, depth: 1 });
  assert.deepEqual([plain.book.bids, plain.book.state], [[], "stale"]);
  assert.deepEqual([grouped.book.bids, grouped.book.state], [[SNAPSHOT.bids[0]], "live"]);
  grouped.unmount();
  await microtasks();
  serve({});
  assert.deepEqual([plain.book.state, plain.book.bids], ["live", SNAPSHOT.bids]);
});

test("a withdrawn symbol shows as removed", async () => {
  const { client, socket } = connected();
  const shown = component(client, SYMBOL, { depth: 5 });
  await microtasks();
  socket.serve();
  socket.bring({ type: "unsubscribed", symbol: SYMBOL, reason: "removed" });
  assert.equal(shown.book.state, "removed");
});

test("a symbol that was withdrawn is asked for again by the next component", async () => {
  const { client, socket } = connected();
  const first = component(client, SYMBOL, { depth: 5 });
  await microtasks();
  socket.serve();
  socket.bring({ type: "unsubscribed", symbol: SYMBOL, reason: "removed" });
  const second = component(client, SYMBOL, { depth: 5 });
  await microtasks();
  socket.serve();
  assert.deepEqual([first.book.state, second.book.state], ["live", "live"]);
});

test("stores of any number of symbols add one listener of each kind to their client", async () => {
  const { client } = connected();
  const added = mock.method(client, "addEventListener");
  const removed = mock.method(client, "removeEventListener");
  const ends = Array.from({ length: 20 }, (_, number) => bookStore(client, `S${number}`).subscribe(() => {}));
  await microtasks();
  assert.deepEqual(added.mock.calls.map(({ arguments: [name] }) => name), ["update", "status"]);
  for (const end of ends) end();
  await microtasks();
  assert.deepEqual(removed.mock.calls.map(({ arguments: [name] }) => name), ["update", "status"]);
});

test("arguments of another kind are refused where they are given", () => {
  const { client } = connected();
  for (const [symbol, options] of [
    ["*", {}], [5, {}], [[SYMBOL], {}], [SYMBOL, { depth: "5" }], [SYMBOL, { depth: 2.5 }], [SYMBOL, { intervalMs: NaN }],
  ]) {
    assert.throws(() => bookStore(client, symbol, options), { name: "TypeError" });
    assert.throws(() => component(client, symbol, options), { name: "TypeError" });
  }
});

test("without a client or a symbol there is nothing to show", () => {
  for (const [client, symbol] of [[null, SYMBOL], [connected().client, ""], [undefined, undefined]]) {
    const shown = component(client, symbol);
    assert.deepEqual([shown.book.bids, shown.book.asks], [[], []]);
    shown.unmount();
  }
});
