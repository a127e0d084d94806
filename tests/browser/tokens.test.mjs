// Tokens of the JavaScript client: presented when they are wanted, refreshed in time, and renewed after a refusal.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "../../web/depthcast.js";
import { tokenIn } from "../../web/page/settings.js";
import { SYMBOL, Socket, WELCOME, until } from "./story.mjs";

const REQUIRED = { ...WELCOME, auth: "required" };
const OPTIONS = { WebSocket: Socket, backoffMs: [1, 2] };

function clientWith(token, welcome = REQUIRED) {
  const client = new Client("http://gateway.test", { ...OPTIONS, token });
  client.subscribe(SYMBOL, { depth: 5 });
  Socket.last.open();
  Socket.last.bring(welcome);
  return client;
}

const ops = () => Socket.last.sent.map(({ op }) => op);
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

test("a token goes before everything else, once it is wanted", () => {
  const client = new Client("http://gateway.test", { ...OPTIONS, token: "t" });
  client.subscribe(SYMBOL, { depth: 5 });
  Socket.last.open();
  assert.deepEqual(ops(), [], "nobody knows yet whether it is wanted");
  Socket.last.bring(REQUIRED);
  assert.deepEqual(ops(), ["auth", "subscribe"]);
  assert.equal(Socket.last.sent[0].token, "t");
  Socket.last.bring({ type: "authenticated", expires: 1 });
  Socket.last.serve();
  assert.equal(client.view(SYMBOL).state, "live");
  client.close();
});

test("a gateway that takes no tokens is shown none", () => {
  const client = clientWith("t", WELCOME);
  assert.deepEqual(ops(), ["subscribe"]);
  client.close();
});

test("a fresh token is presented before the old one expires", async () => {
  let count = 0;
  const client = clientWith(async () => `token ${count += 1}`);
  await turn();
  assert.deepEqual(ops(), ["auth", "subscribe"]);
  Socket.last.bring({ type: "expiring", expires: 1 });
  await turn();
  assert.deepEqual(Socket.last.sent.at(-1), { op: "auth", token: "token 2" });
  client.close();
});

test("a token that cannot change is not presented again", () => {
  const client = clientWith("t");
  Socket.last.bring({ type: "expiring", expires: 1 });
  assert.deepEqual(ops(), ["auth", "subscribe"]);
  client.close();
});

for (const [name, token, ends] of [["a function", () => "t", false], ["a text", "t", true]]) {
  test(`after a refusal, ${name} is ${ends ? "the end" : "asked again"}`, async () => {
    const client = clientWith(token);
    await turn();
    Socket.last.bring({ type: "authenticated", expires: 1 });
    const first = Socket.last;
    first.end(4401, "unauthorized; get another token");
    assert.equal(client.state, ends ? "ended" : "waiting");
    if (!ends) {
      await until(client, () => Socket.last !== first, "it connects again");
      Socket.last.open();
      Socket.last.bring(REQUIRED);
      await turn();
      assert.deepEqual(ops(), ["auth", "subscribe"]);
      Socket.last.end(4401);
      assert.equal(client.state, "ended", "the fresh one was refused, too");
    }
    client.close();
  });
}

test("a function that throws, or gives none, is asked again later", async () => {
  for (const broken of [() => { throw new Error("S3cr3t"); }, () => undefined, async () => ""]) {
    const said = [];
    const client = new Client("http://gateway.test", { ...OPTIONS, token: broken });
    client.addEventListener("state", ({ detail }) => said.push(JSON.stringify(detail)));
    Socket.last.open();
    Socket.last.bring(REQUIRED);
    await until(client, () => client.reconnects > 0, "it connects again");
    assert.ok(!said.join().includes("S3cr3t"));
    client.close();
  }
});

test("what is no token is refused where it is given", () => {
  for (const wrong of ["", 7, {}, true]) {
    assert.throws(() => new Client("http://gateway.test", { ...OPTIONS, token: wrong }), /give a text, or a function/);
  }
});

test("the page takes a token from its address, and keeps it out of its settings", () => {
  assert.equal(tokenIn("#BTC-USD?levels=10&token=a.b-c_d"), "a.b-c_d");
  for (const without of ["", "#", "#BTC-USD", "#BTC-USD?levels=10", "#A?token="]) assert.equal(tokenIn(without), null);
});
