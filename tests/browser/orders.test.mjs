// The number of orders at each level in the JavaScript client: exact, proved by its own digest, or not shown.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Session, digestOf } from "../../web/depthcast.js";
import { faultIn } from "../../web/messages.js";
import { DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL } from "./story.mjs";

const COUNTED = {
  ...SNAPSHOT, bids: [[6500010, 5, 2], [6500000, 12, 3]], asks: [[6500020, 7, 1]],
  orders_digest: digestOf([[6500010, 2], [6500000, 3]], [[6500020, 1]]),
};
/** One order more at a level whose quantity stays. */
const SPLIT = {
  ...DELTA, bids: [[6500000, 12, 4]], asks: [], digest: SNAPSHOT.digest,
  orders_digest: digestOf([[6500010, 2], [6500000, 4]], [[6500020, 1]]),
};
const GONE = {
  ...DELTA, prev_seq: SPLIT.seq, seq: SPLIT.seq + 1, bids: [[6500010, 0, 0], [6500005, 3, 1]], asks: [[6500020, 5, 1]],
  orders_digest: digestOf([[6500005, 1], [6500000, 4]], [[6500020, 1]]),
};

function following() {
  const sent = [];
  const problems = [];
  const session = new Session({
    send: (message) => sent.push(message),
    tell: (kind, detail) => kind === "problem" && problems.push(detail),
  });
  const view = session.subscribe(SYMBOL, { depth: 5, orders: true });
  session.opened();
  session.receive({ ...SUBSCRIBED, orders: true });
  session.receive(COUNTED);
  return { session, view, sent, problems };
}

test("levels have the number of orders, and what did not change is the same object", () => {
  const { session, view, sent } = following();
  assert.equal(sent[0].orders, true);
  const first = view.top();
  assert.deepEqual([first.bids, first.asks], [COUNTED.bids, COUNTED.asks]);
  session.receive(SPLIT);
  const second = view.top();
  assert.deepEqual([second.bids, view.state], [[[6500010, 5, 2], [6500000, 12, 4]], "live"]);
  assert.ok(second.bids[0] === first.bids[0] && second.asks === first.asks && second !== first);
  session.receive(GONE);
  assert.deepEqual(view.top().bids, [[6500005, 3, 1], [6500000, 12, 4]]);
  assert.deepEqual([...view.book.orders.bids].sort(), [[6500000, 4], [6500005, 1]]);
  assert.deepEqual([view.book.bids.get(6500005), view.orders], [3, true]);
});

test("a book with orders is offered with their digest", () => {
  const { session, sent } = following();
  session.receive(SPLIT);
  session.lost();
  session.opened();
  const { seq, digest, orders_digest } = SPLIT;
  assert.deepEqual(sent.at(-1).resume, { [SYMBOL]: { seq, digest, orders_digest } });
});

const { orders_digest: _, ...WITHOUT } = SPLIT;
for (const [what, message] of Object.entries({
  "with a wrong number": { ...SPLIT, bids: [[6500000, 12, 5]] },
  "with a wrong digest of the orders": { ...SPLIT, orders_digest: (SPLIT.orders_digest ^ 1) >>> 0 },
  "without the digest of the orders": WITHOUT,
})) {
  test(`a delta ${what} is not applied: a snapshot is asked for`, () => {
    const { session, view, sent } = following();
    session.receive(message);
    assert.deepEqual([view.state, view.book.seq, session.counters.mismatches], ["stale", SNAPSHOT.seq, 1]);
    assert.deepEqual([sent.at(-1).op, sent.at(-1).orders], ["subscribe", true]);
    session.receive({ ...SUBSCRIBED, id: sent.at(-1).id, orders: true });
    session.receive(SNAPSHOT); // has no orders
    assert.deepEqual([view.state, session.counters.mismatches], ["stale", 2]);
    session.receive({ ...SUBSCRIBED, id: sent.at(-1).id, orders: true });
    session.receive({ ...COUNTED, orders_digest: (COUNTED.orders_digest ^ 1) >>> 0 });
    assert.deepEqual([view.state, session.counters.mismatches], ["stale", 3]);
    session.receive({ ...SUBSCRIBED, id: sent.at(-1).id, orders: true });
    session.receive(COUNTED);
    assert.deepEqual([view.state, view.top().bids], ["live", COUNTED.bids]);
  });
}

test("a level without its number, or with one that cannot be, is malformed", () => {
  for (const row of [[6500000, 12], [6500000, 12, 0], [6500000, 0, 1], [6500000, 12, "4"], [6500000, 12, 0.5]]) {
    assert.match(faultIn({ ...SPLIT, bids: [row] }), /number of orders/, String(row));
  }
  assert.equal(faultIn(SPLIT), "");
  assert.equal(faultIn({ ...WITHOUT, bids: [[6500000, 12, "what a later version has there"]] }), "");
});

test("a gateway that does not know of orders is no gateway for this", () => {
  const problems = [];
  const session = new Session({ send() {}, tell: (kind, detail) => kind === "problem" && problems.push(detail) });
  const view = session.subscribe(SYMBOL, { depth: 5, orders: true });
  session.opened();
  session.receive(SUBSCRIBED);
  session.receive(SNAPSHOT);
  assert.deepEqual([view.state, view.book.seq, problems.map(({ code }) => code)], ["removed", 0, ["unsupported"]]);
});

test("a book that came without orders is not offered for one with orders", () => {
  const sent = [];
  const session = new Session({ send: (message) => message.op === "subscribe" && sent.push(message), tell() {} });
  session.opened();
  session.subscribe("*", { depth: 5 });
  session.receive(SUBSCRIBED);
  session.receive(SNAPSHOT);
  session.lost();
  session.subscribe("*", { depth: 5, orders: true });
  session.opened();
  assert.deepEqual([sent.at(-1).orders, sent.at(-1).resume], [true, undefined]);
});
