// Whatever order events come in and whatever messages say: the JavaScript client throws nothing and recovers.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Client } from "../../web/depthcast.js";
import { faultIn } from "../../web/messages.js";
import { AFTER, DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL, Socket, WELCOME } from "./story.mjs";

const STEPS = {
  open: (socket) => socket.open(),
  welcome: (socket) => socket.bring(WELCOME),
  serve: (socket) => (socket.sent.length ? socket.serve() : socket.bring(SNAPSHOT)),
  garbage: (socket) => socket.onmessage?.({ data: "{" }),
  error: (socket) => socket.fail("broken"),
  close: (socket) => socket.end(1006),
  "throwing send": (socket) => {
    socket.send = () => {
      throw new Error("not open");
    };
  },
  time: () => mock.timers.tick(200),
};
const NAMES = Object.keys(STEPS);
const LENGTH = 4;

const options = { WebSocket: Socket, backoffMs: [1, 4], connectTimeoutMs: 1000 };

function withTimers(body) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  try {
    body();
  } finally {
    mock.timers.reset();
    Socket.made.length = 0;
  }
}

/** Serve the newest connection; the book must be live then, and all older ones let go of. */
function recovers(client, view, text) {
  mock.timers.tick(2000); // what never opened has timed out, and waits are over
  for (let tries = 0; client.state !== "open" && tries < 5; tries += 1) {
    mock.timers.tick(5);
    if (!Socket.last.closed) Socket.last.open();
  }
  Socket.last.bring(WELCOME);
  if (view.state !== "live") Socket.last.serve();
  assert.equal(view.state, "live", text);
  assert.deepEqual(Socket.made.map(({ closed }) => closed).lastIndexOf(false), Socket.made.length - 1, text);
  assert.equal(Socket.made.filter(({ closed }) => !closed).length, 1, text);
}

test(`a client recovers from every order of ${LENGTH} events`, () => {
  for (let number = 0; number < NAMES.length ** LENGTH; number += 1) {
    const names = Array.from({ length: LENGTH }, (_, place) => NAMES[Math.floor(number / NAMES.length ** place) % NAMES.length]);
    withTimers(() => {
      const client = new Client("http://gateway.test", options);
      const view = client.subscribe(SYMBOL, { depth: 5 });
      for (const name of names) STEPS[name](Socket.last);
      recovers(client, view, names.join(", "));
      client.close();
      assert.ok(Socket.made.every(({ closed }) => closed), names.join(", "));
      const made = Socket.made.length;
      mock.timers.tick(60_000);
      assert.equal(Socket.made.length, made, "nothing is left that connects");
    });
  }
});

test("an error without a close is the end of the connection, with its text", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  Socket.last.fail("connect ECONNREFUSED 127.0.0.1:1");
  assert.deepEqual(states, []);
  mock.timers.tick(100);
  const [{ state, code, reason, retryMs }] = states;
  assert.deepEqual([state, code, reason], ["waiting", 1006, "connect ECONNREFUSED 127.0.0.1:1"]);
  assert.ok(retryMs >= 0 && retryMs <= 1);
  client.close();
}));

test("a close code after an error is not the gateway's word", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  Socket.last.open();
  Socket.last.fail("invalid frame");
  Socket.last.end(1002);
  assert.equal(client.state, "waiting");
  client.close();
}));

test("a connection that never opens is given up after its time-out", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  mock.timers.tick(999);
  assert.equal(client.state, "connecting");
  mock.timers.tick(1);
  assert.equal(client.state, "waiting");
  client.close();
}));

test("a client without subscriptions that the gateway ends connects again for the next one", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  const states = [];
  client.addEventListener("state", ({ detail: { state } }) => states.push(state));
  Socket.last.open();
  Socket.last.bring(WELCOME);
  Socket.last.end(4408, "no subscription in time");
  mock.timers.tick(60_000);
  assert.deepEqual([states, Socket.made.length, client.ending], [["open", "idle"], 1, null]);
  client.subscribe([]);
  assert.equal(client.state, "idle");
  const view = client.subscribe(SYMBOL, { depth: 5 });
  assert.deepEqual([client.state, Socket.made.length, client.reconnects], ["connecting", 2, 1]);
  Socket.last.open();
  Socket.last.serve();
  assert.equal(view.state, "live");
  client.close();
}));

test("a subscription that crosses the end of an unused connection is asked for on the next one", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  Socket.last.open();
  const view = client.subscribe(SYMBOL, { depth: 5 });
  Socket.last.end(4408, "no subscription in time");
  assert.equal(client.state, "waiting");
  recovers(client, view, "crossed");
  client.close();
}));

for (const [name, clock] of Object.entries({ Date, performance })) {
  test(`three heartbeats of silence by ${name}.now() end a connection`, () => withTimers(() => {
    const client = new Client("http://gateway.test", options);
    const view = client.subscribe(SYMBOL, { depth: 5 });
    Socket.last.open();
    Socket.last.bring({ ...WELCOME, heartbeat_ms: 2000 });
    Socket.last.serve();
    const begun = clock.now();
    const states = [];
    const later = mock.method(clock, "now", () => begun + 5900);
    mock.timers.tick(1000);
    states.push(view.state);
    later.mock.mockImplementation(() => begun + 6100);
    mock.timers.tick(1000);
    states.push(view.state);
    later.mock.restore();
    assert.deepEqual([states, client.state], [["live", "stale"], "waiting"]);
    client.close();
  }));
}

test("an idle client can be closed", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  Socket.last.open();
  Socket.last.end(4408);
  client.close();
  client.subscribe(SYMBOL);
  assert.deepEqual([client.state, Socket.made.length], ["ended", 1]);
}));

test("a WebSocket that cannot be made is tried again", () => withTimers(() => {
  let made = 0;
  class Refusing extends Socket {
    constructor(...words) {
      if ((made += 1) < 3) throw new Error("not secure");
      super(...words);
    }
  }
  const client = new Client("http://gateway.test", { ...options, WebSocket: Refusing });
  const reasons = [];
  client.addEventListener("state", ({ detail: { state, reason } }) => state === "waiting" && reasons.push(reason));
  for (let tick = 0; tick < 30; tick += 1) mock.timers.tick(2);
  assert.deepEqual([reasons, client.state, Socket.made.length], [["not secure", "not secure"], "connecting", 1]);
  client.close();
}));

test("garbage after service makes waits grow all the same", () => withTimers(() => {
  const random = mock.method(Math, "random", () => 1);
  const client = new Client("http://gateway.test", { ...options, backoffMs: [10, 10_000] });
  client.subscribe(SYMBOL, { depth: 5 });
  const waits = [];
  client.addEventListener("state", ({ detail: { retryMs } }) => retryMs && waits.push(retryMs));
  for (let attempt = 0; attempt < 5; attempt += 1) {
    Socket.last.open();
    Socket.last.serve();
    Socket.last.onmessage({ data: "{" });
    mock.timers.tick(20_000);
  }
  random.mock.restore();
  assert.deepEqual(waits, [20, 30, 50, 90, 170]);
  client.close();
}));

test("subscriptions that are too many at a time are repeated after a while", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  client.subscribe(SYMBOL, { depth: 5 });
  Socket.last.open();
  Socket.last.bring({ type: "error", id: 1, code: "rate_limited", message: "slow down" });
  mock.timers.tick(999);
  assert.equal(Socket.last.sent.length, 1);
  mock.timers.tick(1);
  assert.deepEqual(Socket.last.sent.map(({ symbols }) => symbols), [[SYMBOL], [SYMBOL]]);
  client.close();
}));

const VALUES = [undefined, null, "x", "", true, -1, 0.5, 2 ** 53, {}, [], [[1]], [["1", "2"]], [[1, -1]], [[0.5, 1]], [null]];
const WRONG = [];
for (const message of [WELCOME, SUBSCRIBED, SNAPSHOT, DELTA, { type: "unsubscribed", symbol: SYMBOL }, { type: "status", symbol: SYMBOL, state: "live" }]) {
  for (const name of Object.keys(message)) {
    for (const value of VALUES) {
      const wrong = { ...message, [name]: value };
      if (faultIn(JSON.parse(JSON.stringify(wrong)))) WRONG.push(wrong);
    }
  }
}

WRONG.push({ ...DELTA, seq: DELTA.prev_seq });

test("a field of another kind is noticed, reported and recovered from", () => {
  assert.ok(WRONG.length > 250, String(WRONG.length));
  for (const name of ["heartbeat_ms", "tick_size", "seq", "bids", "asks", "prev_seq", "digest", "ts", "merged", "state"]) {
    assert.ok(WRONG.some((message) => faultIn(JSON.parse(JSON.stringify(message))).includes(`${name} is`)), name);
  }
  for (const wrong of WRONG) {
    withTimers(() => {
      const client = new Client("http://gateway.test", options);
      const problems = [];
      client.addEventListener("problem", ({ detail }) => problems.push(detail));
      const view = client.subscribe(SYMBOL, { depth: 5 });
      Socket.last.open();
      Socket.last.bring(wrong);
      const text = JSON.stringify(wrong);
      assert.deepEqual(problems.map(({ code }) => code), ["bad_message"], text);
      assert.equal(client.state, "waiting", text);
      recovers(client, view, text);
      client.close();
    });
  }
});

test("messages of later versions are ignored", () => {
  for (const message of [
    { type: "trade", symbol: SYMBOL }, { ...SNAPSHOT, symbol: "NONE", more: [1] }, { type: "__proto__" }, { type: "toString" },
    { type: "error", code: "later", message: "why" }, { type: "error" }, { ...SNAPSHOT, bids: [[1, 1, 1]], digest: 0 },
  ]) {
    withTimers(() => {
      const client = new Client("http://gateway.test", options);
      Socket.last.open();
      Socket.last.bring(message);
      assert.equal(client.state, "open", JSON.stringify(message));
      client.close();
    });
  }
});

test("a price twice in a message is one level", () => withTimers(() => {
  const client = new Client("http://gateway.test", options);
  const view = client.subscribe(SYMBOL, { depth: 5 });
  Socket.last.open();
  Socket.last.serve();
  Socket.last.bring({ ...DELTA, bids: [[6500010, 9], ...DELTA.bids] });
  Socket.last.bring(AFTER);
  assert.deepEqual([view.state, view.book.seq, client.counters.mismatches], ["live", AFTER.seq, 0]);
  client.close();
}));

test("options that make no sense are refused at once", () => {
  const made = (url, given) => () => new Client(url, { WebSocket: Socket, ...given });
  for (const [url, given, error] of [
    ["gateway.test", {}, TypeError], ["ftp://gateway.test", {}, TypeError], ["http://gateway.test", { WebSocket: null }, TypeError],
    ["http://gateway.test", { backoffMs: [10, 5] }, RangeError], ["http://gateway.test", { backoffMs: [NaN, 5] }, RangeError],
    ["http://gateway.test", { creditWindow: -1 }, RangeError], ["http://gateway.test", { creditWindow: "1" }, RangeError],
    ["http://gateway.test", { connectTimeoutMs: 0 }, RangeError], ["http://gateway.test", { connectTimeoutMs: 2 ** 31 }, RangeError],
    ["http://gateway.test", { pace: 60 }, TypeError], ["http://gateway.test", { encoding: "msgpack" }, TypeError],
    ["http://gateway.test", { encoding: null }, TypeError], [undefined, {}, TypeError],
  ]) assert.throws(made(url, given), error, JSON.stringify([url, given]));
  assert.equal(Socket.made.length, 0);
});

test("addresses", () => withTimers(() => {
  for (const [base, url] of [
    ["http://gateway.test", "ws://gateway.test/v1/ws"], ["https://gateway.test/books/", "wss://gateway.test/books/v1/ws"],
    ["ws://gateway.test:81/v1/ws?x=1#y", "ws://gateway.test:81/v1/ws"], [new URL("wss://gateway.test"), "wss://gateway.test/v1/ws"],
  ]) {
    new Client(base, options).close();
    assert.equal(Socket.last.url, url);
  }
}));
