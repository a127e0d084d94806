// A session of the JavaScript client for tests in Python: a line of JSON in for each call, one out with what it has
// sent since and with all that it shows.
import { createInterface } from "node:readline";

import { Session } from "../../web/session.js";

let sent = [];
let session = null;

function begin() {
  session = new Session({ send: (message) => sent.push(message), tell() {} });
}

function shown() {
  return [...session.views.values()].filter(({ book }) => book.seq).map(
    ({ symbol, state, book, tickSize }) => [symbol, state, book.seq, [...book.bids], [...book.asks], tickSize],
  );
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  if (name === "begin") begin();
  else session[name](...given);
  process.stdout.write(`${JSON.stringify({ sent, shown: shown() })}\n`);
  sent = [];
}
