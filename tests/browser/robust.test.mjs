// The JavaScript client on real sockets, with every WebSocket there is: it never throws, and always comes back.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { describe, test } from "node:test";

import { Client } from "../../web/depthcast.js";
import { FakeGateway, serve } from "./fake_gateway.mjs";
import { SNAPSHOT, SUBSCRIBED, SYMBOL, WELCOME, table, until } from "./story.mjs";

const CLOSE_CODES = table("code | meaning | reason text | connect again")
  .map(([code, , , again]) => [Number(code), again.startsWith("never")]);
const NEVER_SENT = new Set([1005, 1006, 1015]); // no close frame has them
const UNKNOWN = [1014, 3000, 3999, 4000, 4999].map((code) => [code, false]);

const modules = process.env.TESTED_NODE_MODULES; // a folder with packages; without it, Node's own WebSocket
const installed = modules && createRequire(`${modules}/node_modules/`);
const KINDS = Object.entries(
  installed ? { ws: installed("ws").WebSocket, undici: installed("undici").WebSocket } : { "Node's own": WebSocket },
);

/** Run `body` with a client of a gateway that answers so, one connection after the other, and then serves. */
async function withGateway(WebSocket, answers, body, options = {}) {
  const gateway = await FakeGateway.open([...answers, serve]);
  const states = [];
  const problems = [];
  const client = new Client(gateway.url, { WebSocket, backoffMs: [2, 20], connectTimeoutMs: 20_000, ...options });
  client.addEventListener("state", ({ detail }) => states.push(detail));
  client.addEventListener("problem", ({ detail }) => problems.push(detail));
  try {
    await body({ gateway, client, states, problems, view: client.subscribe(SYMBOL, { depth: 5 }) });
  } finally {
    client.close();
    await gateway.close();
  }
}

const comesBack = (WebSocket, answers, check = () => {}, options = {}) =>
  withGateway(WebSocket, answers, async ({ client, view, gateway, states, problems }) => {
    await until(client, () => view.state === "live", "the book is live");
    assert.ok(gateway.peers.length > answers.length);
    assert.ok(states.some(({ state }) => state === "waiting")); // undici asks again by itself after a 401
    check({ states, problems, gateway });
  }, options);

const said = (text) => (peer) => {
  serve(peer);
  peer.text(text);
};

const REFUSALS = {
  "is answered 404": (peer) => peer.refuse(404),
  "is answered 429": (peer) => peer.refuse(429, "Retry-After: 1\r\n"),
  "is answered 503": (peer) => peer.refuse(503, "Retry-After: 1\r\n"),
  "is answered 500": (peer) => peer.refuse(500),
  "is answered 401": (peer) => peer.refuse(401),
  "is answered 200": (peer) => peer.refuse(200),
  "is answered 301": (peer) => peer.refuse(301, "Location: /elsewhere\r\n"),
  "is answered with garbage": (peer) => peer.socket.end("\x00\xff no HTTP\r\n\r\n"),
  "is lost in the handshake": (peer) => peer.socket.destroy(),
  "is never answered": () => {},
  "has a handshake with a wrong key": (peer) => peer.socket.write(
    "HTTP/1.1 101 So\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
  ),
  "gets a frame with reserved bits": (peer) => peer.accept().socket.write(Buffer.from([0xf1, 0x00])),
  "gets a frame that never ends": (peer) => peer.accept().socket.end(Buffer.from([0x81, 0x7e, 0xff])),
  "gets text that is no UTF-8": (peer) => peer.accept().frame(1, Buffer.from([0xff, 0xfe])),
  "gets a close frame with a forbidden code": (peer) => peer.accept().close(999),
  "gets no code in the close frame": (peer) => peer.accept().close(0),
};

const GARBAGE = {
  "no JSON": said("{"),
  nothing: said(""),
  null: said("null"),
  "a number": said("5"),
  "a list": said("[]"),
  "a map without a type": said("{}"),
  "a type that is a number": said('{"type": 5}'),
  "a type that every object has, and then no JSON": (peer) => {
    said('{"type": "constructor"}')(peer);
    peer.text("x");
  },
  "deeply nested lists": said("[".repeat(50_000)),
  "a binary frame": (peer) => {
    serve(peer);
    peer.binary([0x81, 0xa4]);
  },
  "a snapshot without levels": said('{"type": "snapshot", "symbol": "BTC-USD"}'),
};

for (const [kind, WebSocket] of KINDS) {
  describe(`with ${kind}, a client`, { concurrency: true }, () => {
    for (const [what, refusal] of Object.entries(REFUSALS)) {
      const options = what === "is never answered" ? { connectTimeoutMs: 300 } : {};
      test(`that ${what} comes back`, () => comesBack(WebSocket, [refusal, refusal], ({ states }) => {
        assert.ok(states.every(({ state, reason }) => state !== "waiting" || typeof reason === "string"));
      }, options));
    }

    for (const [what, garbage] of Object.entries(GARBAGE)) {
      test(`that is sent ${what} reports it and comes back`, () => comesBack(WebSocket, [garbage], ({ problems }) => {
        assert.deepEqual(problems.map(({ code }) => code), ["bad_message"]);
        assert.ok(problems[0].text);
      }));
    }

    for (const [code, never] of [...CLOSE_CODES, ...UNKNOWN].filter(([code]) => !NEVER_SENT.has(code))) {
      const closing = (peer) => {
        serve(peer);
        const answer = peer.onmessage;
        peer.onmessage = (message) => {
          answer(message);
          peer.close(code, "why");
        };
      };
      test(`that is closed with ${code} ${never ? "has ended" : "comes back"}`, () =>
        withGateway(WebSocket, [closing], async ({ client, view, gateway, states }) => {
          const cameBack = () => client.reconnects === 1 && view.state === "live";
          await until(client, () => (never ? client.state === "ended" : cameBack()), "what the contract says");
          assert.deepEqual([states[1].code, states[1].reason], [code, "why"]);
          assert.equal(gateway.peers.length, never ? 1 : 2);
          assert.equal(client.ending?.code, never ? code : undefined);
        }));
    }

    test("that is told to try later does", () => comesBack(WebSocket, [(peer) => {
      peer.accept().send(WELCOME);
      peer.onmessage = ({ id }) => peer.send({ type: "error", id, code: "unavailable", message: "not yet" });
    }]));

    test("waits for a gateway that is not there, and comes back when it is killed", async () => {
      const { port, ...gone } = await FakeGateway.open([serve]);
      await FakeGateway.prototype.close.call(gone);
      const client = new Client(`http://127.0.0.1:${port}`, { WebSocket, backoffMs: [2, 20] });
      const states = [];
      client.addEventListener("state", ({ detail }) => states.push(detail));
      const view = client.subscribe(SYMBOL, { depth: 5 });
      let gateway;
      try {
        await until(client, () => client.reconnects >= 3, "it tries again");
        assert.ok(states.filter(({ state }) => state === "waiting").every(({ code, reason }) => code === 1006 && reason));
        for (let life = 0; life < 2; life += 1) {
          gateway = await FakeGateway.open([serve], port);
          await until(client, () => view.state === "live", "the book is live");
          await gateway.close();
          await until(client, () => view.state === "stale", "the book is stale");
        }
        assert.equal(view.book.seq, SNAPSHOT.seq);
      } finally {
        client.close();
      }
    });

    test("that is closed while it connects makes no noise", () =>
      withGateway(WebSocket, [() => {}], async ({ client, gateway }) => {
        await until(client, () => gateway.peers.length === 1, "a handshake has come");
        client.close();
        assert.equal(client.state, "ended");
        await new Promise((resolve) => setImmediate(resolve)); // ws reports the end of a handshake in the next tick
      }));
  });
}

test("a process with a client ends by itself once it is closed, and prints nothing", () => {
  const program = `
    import { Client } from ${JSON.stringify(new URL("../../web/depthcast.js", import.meta.url).href)};
    const client = new Client("http://127.0.0.1:1", { WebSocket, backoffMs: [1, 1] });
    client.subscribe("*");
    client.addEventListener("state", () => { if (client.reconnects === 3) client.close(); });
  `;
  const words = ["--experimental-websocket", "--no-warnings", "--input-type=module", "-e", program];
  const ran = spawnSync(process.execPath, words, { encoding: "utf-8", timeout: 10_000 });
  assert.deepEqual([ran.status, ran.stdout, ran.stderr], [0, "", ""]);
});
