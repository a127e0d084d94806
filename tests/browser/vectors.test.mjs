// The JavaScript client against docs/vectors/client: node --test tests/browser/vectors.test.mjs
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { reconnect } from "../../web/close_codes.js";
import { Session } from "../../web/session.js";

const FOLDER = new URL("../../docs/vectors/client/", import.meta.url);
/** Conversations that this client never has, and why. */
const NEVER_HAD = {
  no_orders: "it ends a subscription whose replacement was refused",
  wrong_group: "it throws where such an option is given",
};

/** Plays one conversation to a session; each method is the meaning of one key of a line. */
class Player {
  constructor({ credit_window: creditWindow = 0 }) {
    this.unclaimed = [];
    this.pings = [];
    this.ids = new Map();
    this.credited = 0;
    this.session = new Session({ creditWindow, send: (message) => this.sent(message), tell() {} });
  }

  sent(message) {
    if (message.op === "ping") this.pings.push(message.id);
    else if (message.op === "credit") this.credited += message.messages;
    else this.unclaimed.push(message);
  }

  play(line) {
    const [[key, value]] = Object.entries(line);
    if (key === "user" || key === "connection") this.complete();
    this[key](value);
  }

  complete() {
    assert.deepEqual(this.unclaimed, [], "the client has sent what it should not");
  }

  user({ subscribe, unsubscribe, ...options }) {
    if (subscribe) this.session.subscribe(subscribe, options);
    else this.session.unsubscribe(unsubscribe);
  }

  connection(what) {
    if (what === "opens") {
      this.session.opened();
      return;
    }
    assert.equal(reconnect(what.closes), what.reconnect);
    this.session.lost();
    this.pings = [];
    this.credited = 0;
  }

  gateway({ id: placeholder, ...message }) {
    const id = this.ids.get(placeholder);
    if (message.type === "snapshot" || message.type === "delta") this.credited -= 1;
    assert.ok(this.session.receive(id === undefined ? message : { ...message, id }), "the message is malformed");
  }

  lost() {}

  pongs() {
    for (const id of this.pings.splice(0)) this.session.receive({ type: "pong", id, ts: 1 });
  }

  sends({ id, ...expected }) {
    const message = this.unclaimed.shift();
    assert.ok(message, `the client should have sent ${JSON.stringify(expected)}`);
    assert.equal(comparable(message), comparable(expected));
    assert.ok(message.parts || !expected.parts, "the client should ask for parts");
    this.ids.set(id, message.id);
  }

  credit({ least, most }) {
    assert.ok(this.credited >= least && this.credited <= most, `the gateway has credit for ${this.credited} messages`);
  }

  holds(held) {
    for (const [symbol, expected] of Object.entries(held)) assert.deepEqual(this.shown(symbol), expected);
  }

  not_live(symbol) {
    assert.notEqual(this.session.views.get(symbol)?.state, "live");
  }

  shown(symbol) {
    const view = this.session.views.get(symbol);
    if (!view) return null;
    const { book } = view;
    return {
      state: view.state,
      seq: book.seq,
      digest: book.digest,
      ...(book.orders && { orders_digest: book.ordersDigest }),
      bids: book.best("bids"),
      asks: book.best("asks"),
      tick_size: view.tickSize,
      lot_size: view.lotSize,
      reason: view.staleReason,
    };
  }
}

/** A message as text that can be compared: with defaults, without id and parts, keys and symbols in order. */
function comparable({ id, parts, ...message }) {
  const defaults = message.op === "subscribe" ? { depth: 25, interval_ms: 0, group: 1, orders: false, resume: {} } : {};
  const whole = { ...defaults, ...message, symbols: [...message.symbols].sort() };
  return JSON.stringify(whole, (_, value) => (
    value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value
  ));
}

for (const name of readdirSync(FOLDER).sort()) {
  const [head, ...lines] = readFileSync(new URL(name, FOLDER), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  test(`${head.vector}: ${head.about}`, { skip: NEVER_HAD[head.vector] }, () => {
    const player = new Player(head);
    lines.forEach((line, place) => {
      try {
        player.play(line);
      } catch (error) {
        error.message = `${name}, line ${place + 2}: ${error.message}`;
        throw error;
      }
    });
    player.complete();
  });
}
