// A session of the JavaScript client for tests in Python: a line of JSON in for each call, one out with what it has
// sent since, with the calls that a listener has made, and with all that it shows.
import { createInterface } from "node:readline";

import { Session } from "../../web/session.js";

let sent = [];
let called = [];
let session = null;
let listener = null; // the kind of event at which it makes a call, once, and the call

function begin(creditWindow) {
  listener = null;
  session = new Session({ send: (message) => sent.push(message), tell, creditWindow });
}

function during(...next) {
  listener = next;
}

function tell(kind) {
  if (!listener || listener[0] !== kind) return;
  const [, name, ...given] = listener;
  listener = null;
  called.push([name, ...given]);
  session[name](...given);
}

function shown() {
  return [...session.views.values()].filter(({ book }) => book.seq).map(
    ({ symbol, state, book, tickSize, options: { depth, group, orders, intervalMs } }) => [
      symbol, state, book.seq, [...book.bids], [...book.asks], tickSize, [depth, group, orders, intervalMs],
      book.orders && [[...book.orders.bids], [...book.orders.asks]],
    ],
  );
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  if (name === "begin") begin(...given);
  else if (name === "during") during(...given);
  else session[name](...given);
  process.stdout.write(`${JSON.stringify({ sent, called, shown: shown(), tryLater: session.tryLater })}\n`);
  sent = [];
  called = [];
}
