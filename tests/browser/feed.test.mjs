// A connection of the page with a client that the test plays: lag, age, and what it says of its book.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../../web/page/feed.js";

class FakeClient extends EventTarget {
  state = "open";
  bytes = 0;
  welcome = { heartbeat_ms: 2000, limits: { stale_ms: 30_000 } };
  said = [];

  subscribe(symbol, { depth, group }) {
    this.said.push(["subscribe", symbol, depth, group]);
    this.view = {
      symbol, state: "live", stale: false, staleReason: null, tickSize: "0.01", lotSize: "1",
      book: { seq: 0, ts: 0, digest: 0, changes: 0, best: (side) => [[side === "bids" ? 1 : 2, 3]] },
    };
    return this.view;
  }

  unsubscribe(symbol) {
    this.said.push(["unsubscribe", symbol]);
  }

  close() {
    this.said.push(["close"]);
  }

  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }

  /** A message about a broadcast `agoMs` ago was applied. */
  update(type, agoMs, view = this.view, more = {}) {
    const ts = (Date.now() - agoMs) * 1000;
    Object.assign(view.book, { seq: view.book.seq + 1, ts, changes: view.book.changes + 1 });
    this.bytes += 100;
    this.tell("update", { view, message: { type, ts, ...more } });
  }

  enter(state, reason = "", retryMs = 0) {
    this.state = state;
    this.tell("state", { state, code: 0, reason, retryMs });
  }
}

function shown() {
  const clients = [];
  const feed = new Feed(() => clients[clients.push(new FakeClient()) - 1]);
  feed.show("AAA", 25);
  return { feed, clients, client: clients[0], read: () => feed.read(performance.now()) };
}

const near = (value, wanted) => assert.ok(Math.abs(value - wanted) < 1000, `${value} is not near ${wanted}`);

test("a first snapshot is as old as its broadcast, and shows no lag", () => {
  const { feed, client, read } = shown();
  assert.equal(read().agoMs, null);
  client.update("snapshot", 37_000);
  assert.equal(feed.lagMs, null);
  near(read().agoMs, 37_000);
  client.update("delta", 20);
  near(feed.lagMs, 20);
  near(read().agoMs, 0);
});

test("what a resumed book missed shows no lag, and a lost connection none any more", () => {
  const { feed, client, read } = shown();
  client.update("snapshot", 0);
  client.update("delta", 20);
  client.enter("waiting", "restarting", 3000);
  assert.equal(feed.lagMs, null);
  assert.equal(read().standing.state, "lost");
  assert.match(read().standing.next, /in 3 s/);
  client.enter("open");
  client.update("delta", 60_000);
  assert.equal(feed.lagMs, null);
  near(read().agoMs, 60_000);
  assert.equal(read().standing.state, "live");
});

test("levels are the same lists for as long as the book is the same", () => {
  const { client, read } = shown();
  assert.deepEqual(read().bids, []);
  client.update("snapshot", 0);
  const first = read();
  assert.deepEqual([first.seq, first.bids, first.asks], [1, [[1, 3]], [[2, 3]]]);
  assert.equal(read().bids, first.bids);
  client.update("delta", 0);
  assert.notEqual(read().bids, first.bids);
});

test("another symbol ends the old one, and what comes of that is not shown", () => {
  const { feed, client, read } = shown();
  client.update("snapshot", 0);
  const old = client.view;
  feed.show("BBB", 10);
  assert.deepEqual(client.said, [["subscribe", "AAA", 25, 1], ["unsubscribe", "AAA"], ["subscribe", "BBB", 10, 1]]);
  client.update("delta", 0, old);
  assert.deepEqual([read().symbol, read().seq, read().agoMs], ["BBB", 0, null]);
  feed.show("BBB", 50);
  feed.show("BBB", 50, 20);
  assert.deepEqual(client.said.at(-1), ["subscribe", "BBB", 50, 20], "another depth replaces the subscription");
});

test("a refused symbol says why, and another client follows one that has ended", () => {
  const { feed, clients, client, read } = shown();
  client.tell("problem", { code: "rate_limited", text: "of something else" });
  assert.equal(read().standing.state, "live");
  client.view.state = "removed";
  client.tell("problem", { code: "unknown_symbol", text: "no symbol 'AAA'", symbol: "AAA" });
  assert.deepEqual([read().standing.state, read().standing.alarm], ["refused", "No symbol 'AAA'."]);
  assert.ok(feed.isOver);
  feed.show("DDD", 25, 10);
  client.tell("problem", { code: "limit", text: "the full book of DDD has 30000 levels", symbol: "DDD" });
  client.view.state = "removed";
  client.tell("removed", { symbol: "DDD", reason: "limit" });
  assert.equal(read().standing.alarm, "The full book of DDD has 30000 levels.");
  client.enter("ended", "no subscription in time");
  feed.show("CCC", 25);
  assert.equal(clients.length, 2);
  assert.equal(read().standing.state, "live");
});

test("nothing that cannot be a symbol is sent to a gateway", () => {
  const { feed, client, read } = shown();
  for (const text of ["*", "100%", '"]); x(["']) {
    feed.show(text, 25);
    assert.equal(read().standing.state, "refused");
  }
  assert.equal(client.said.filter(([kind]) => kind === "subscribe").length, 1);
});

test("a connection without so much as a heartbeat is not live, whichever clock shows it", (context) => {
  const { feed, client } = shown();
  client.update("snapshot", 0);
  const stateAt = (now) => feed.read(now).standing.state;
  assert.equal(stateAt(1000), "live");
  assert.equal(stateAt(4900), "live");
  assert.equal(stateAt(5100), "silent");
  client.bytes += 30; // a heartbeat
  assert.equal(stateAt(5200), "live");
  client.enter("waiting", "gone");
  assert.equal(stateAt(20_000), "lost");
  client.enter("open");
  assert.equal(stateAt(20_100), "live", "silence is counted from the beginning of a connection");
  const wallMs = Date.now();
  context.mock.method(Date, "now", () => wallMs + 60_000); // the machine slept, and its other clock did too
  assert.equal(stateAt(20_200), "silent");
});

test("a page that was hidden waits for what the gateway held back, and takes no lag from it", () => {
  const { feed, client } = shown();
  client.update("snapshot", 0);
  client.update("delta", 20);
  const woke = performance.now() + 1;
  feed.wake(woke);
  assert.equal(feed.read(woke + 10).standing.state, "resuming");
  assert.equal(feed.read(woke + 2000).standing.state, "live", "nothing was held back");
  while (performance.now() < woke);
  client.update("delta", 60_000);
  assert.equal(feed.read(woke + 10).standing.state, "live");
  near(feed.lagMs, 20);
  near(feed.read(performance.now()).agoMs, 60_000);
});

test("a reading says what its numbers mean, and how long a book may have been taken for live", () => {
  const { feed, client, read } = shown();
  client.update("snapshot", 0);
  assert.equal(read().sizes, "0.01 1");
  client.view.tickSize = "0.1";
  assert.equal(read().sizes, "0.1 1");
  assert.equal(feed.doubtMs, 30_000);
  client.welcome = { heartbeat_ms: 20_000 };
  assert.equal(feed.doubtMs, 60_000);
  client.welcome = null;
  assert.equal(feed.doubtMs, 15_000);
});

test("a connection that is not there yet is closed once it is, unless it is wanted again", () => {
  const { feed, clients, client } = shown();
  client.state = "connecting";
  feed.close();
  feed.show("AAA", 25);
  client.enter("open");
  assert.deepEqual(client.said.map(([kind]) => kind), ["subscribe", "unsubscribe", "subscribe"]);
  client.state = "connecting";
  feed.close();
  assert.equal(feed.view, null);
  client.enter("open");
  assert.equal(client.said.at(-1)[0], "close");
  feed.show("AAA", 25);
  assert.equal(clients.length, 2);
});

test("the time at the source is read where a delta names it, and what held broadcasts back where they were merged", () => {
  const { feed, client, read } = shown();
  client.update("snapshot", 0, client.view, { event_ts: (Date.now() - 90_000) * 1000 });
  assert.equal(feed.sourceMs, null, "a snapshot may be of any age");
  client.update("delta", 20, client.view, { event_ts: (Date.now() - 3000) * 1000, because: "credit" });
  near(feed.sourceMs, 3000);
  assert.equal(feed.because, "credit");
  client.update("delta", 20);
  assert.deepEqual([feed.sourceMs, feed.because], [null, "credit"], "the last reason stays");
  client.enter("waiting", "gone");
  client.enter("open");
  assert.equal(feed.sourceMs, null);
  feed.show("BBB", 25);
  assert.equal(feed.because, "");
  assert.equal(read().seq, 0);
});
