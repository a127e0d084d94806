// The msgpack encoding of the JavaScript client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Client } from "../../web/depthcast.js";
import { msgpack } from "../../web/msgpack.js";
import { DELTA, SNAPSHOT, SUBSCRIBED, SYMBOL, Socket } from "./story.mjs";

const PROTOCOL = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf-8");

const buffer = (bytes) => Uint8Array.from(bytes).buffer;
const bytesOf = (hex) => hex.replaceAll(/#.*$/gm, "").trim().split(/\s+/).filter(Boolean).map((pair) => parseInt(pair, 16));
const decoded = (...bytes) => msgpack.decode(buffer(bytes));

/** A block of docs/protocol.md in both forms. */
function example(name) {
  const block = (language) => PROTOCOL.split(`\`\`\`${language} ${name}\n`)[1].split("```")[0];
  return [bytesOf(block("hex")), JSON.parse(block("json"))];
}

for (const name of ["ws-delta", "ws-status", "ws-credit"]) {
  test(`the example ${name} of the contract`, () => {
    const [bytes, message] = example(name);
    assert.deepEqual(decoded(...bytes), message);
    assert.deepEqual(msgpack.decode(msgpack.encode(message).buffer), message);
  });
}

test("credit is written as in the contract", () => {
  const [bytes, message] = example("ws-credit");
  assert.deepEqual([...msgpack.encode(message)], bytes);
});

test("every form of a value that a gateway may use", () => {
  for (const [value, bytes] of [
    [null, [0xc0]], [false, [0xc2]], [true, [0xc3]], [5, [5]], [-1, [0xff]], [-32, [0xe0]], [200, [0xcc, 200]],
    [258, [0xcd, 1, 2]], [0x01020304, [0xce, 1, 2, 3, 4]], [2 ** 53 - 1, [0xcf, 0, 0x1f, 255, 255, 255, 255, 255, 255]],
    [-2, [0xd0, 0xfe]], [-2, [0xd1, 0xff, 0xfe]], [-2, [0xd2, 0xff, 0xff, 0xff, 0xfe]],
    [-2, [0xd3, 255, 255, 255, 255, 255, 255, 255, 0xfe]], [1.5, [0xca, 0x3f, 0xc0, 0, 0]],
    [1.5, [0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]], ["a", [0xa1, 97]], ["a", [0xd9, 1, 97]], ["a", [0xda, 0, 1, 97]],
    ["a", [0xdb, 0, 0, 0, 1, 97]], [[1], [0x91, 1]], [[1], [0xdc, 0, 1, 1]], [[1], [0xdd, 0, 0, 0, 1, 1]],
    [{ a: 1 }, [0x81, 0xa1, 97, 1]], [{ a: 1 }, [0xde, 0, 1, 0xa1, 97, 1]], [{ a: 1 }, [0xdf, 0, 0, 0, 1, 0xa1, 97, 1]],
  ]) assert.deepEqual(decoded(...bytes), value, JSON.stringify([value, bytes]));
});

test("what is written can be read", () => {
  const long = "€".repeat(100);
  const message = {
    numbers: [0, 1, 127, 128, 65535, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -(2 ** 53 - 1), 0.5], text: ["", "é", long],
    list: Array.from({ length: 40 }, (_, number) => number), nothing: null, yes: true, no: false,
    map: Object.fromEntries(Array.from({ length: 40 }, (_, number) => [`k${number}`, number])), left_out: undefined,
  };
  const { left_out: _, ...kept } = message;
  assert.deepEqual(msgpack.decode(msgpack.encode(message).buffer), kept);
  assert.throws(() => msgpack.encode({ big: 5n }), TypeError);
});

test("what is no message throws, and nothing else happens", () => {
  const [bytes] = example("ws-delta");
  for (let end = 0; end < bytes.length; end += 1) assert.throws(() => decoded(...bytes.slice(0, end)), RangeError);
  for (const wrong of [
    [0xc1], [0xc4, 0], [0xc7, 0, 0], [0xd4, 0, 0], [1, 1], [0x81, 1, 1], [0xdd, 255, 255, 255, 255],
    [0xdb, 255, 255, 255, 255], Array(100).fill(0x91),
  ]) assert.throws(() => decoded(...wrong), RangeError, String(wrong));
  assert.throws(() => decoded(0xa1, 0xff), TypeError); // no UTF-8
  assert.throws(() => msgpack.decode("{}"), TypeError);
  const map = decoded(0x81, 0xa9, ...Buffer.from("__proto__"), 0x81, 0xa1, 97, 1);
  assert.equal(map.a, undefined);
});

test("a client with msgpack follows", () => {
  class Binary extends Socket {
    send(bytes) {
      this.sent.push(msgpack.decode(bytes.buffer));
    }

    bring(message) {
      this.onmessage({ data: msgpack.encode(message).buffer });
    }
  }
  const client = new Client("http://gateway.test", { WebSocket: Binary, encoding: msgpack });
  const view = client.subscribe(SYMBOL, { depth: 5 });
  const socket = Socket.last;
  socket.open();
  assert.deepEqual([socket.subprotocol, socket.binaryType], ["depthcast.v1.msgpack", "arraybuffer"]);
  assert.deepEqual(socket.sent, [{ op: "subscribe", id: 1, symbols: [SYMBOL], depth: 5, interval_ms: 0, parts: true }]);
  for (const message of [SUBSCRIBED, SNAPSHOT, DELTA]) socket.bring(message);
  assert.deepEqual([view.state, view.book.seq], ["live", DELTA.seq]);
  assert.ok(client.bytes > 100);
  socket.onmessage({ data: "{}" });
  assert.equal(client.state, "waiting");
  client.close();
});
