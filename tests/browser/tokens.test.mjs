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
  const replaced = [];
  const said = [];
  const client = clientWith(async (ending) => {
    replaced.push(ending);
    return `token ${count += 1}`;
  });
  client.addEventListener("token", ({ detail }) => said.push(detail));
  await turn();
  assert.deepEqual(ops(), ["auth", "subscribe"]);
  Socket.last.bring({ type: "authenticated", id: "token", expires: 1769904900000000 });
  Socket.last.bring({ type: "expiring", expires: 1769904900000000 });
  await turn();
  assert.deepEqual(Socket.last.sent.at(-1), { op: "auth", id: "token", token: "token 2" });
  Socket.last.bring({ type: "authenticated", id: "token" });
  assert.deepEqual(replaced, [null, "token 1"], "it knows which one ends");
  assert.deepEqual(said, [
    { expiring: false, expiresMs: 1769904900000 },
    { expiring: true, expiresMs: 1769904900000 },
    { expiring: false, expiresMs: null },
  ]);
  client.close();
});

test("a token is replaced when the program says so, and never where none is wanted", async () => {
  let count = 0;
  const client = clientWith(() => `token ${count += 1}`);
  await turn();
  client.refreshToken();
  await turn();
  assert.deepEqual(ops(), ["auth", "subscribe"], "the first one has no answer yet");
  Socket.last.bring({ type: "authenticated" });
  client.refreshToken();
  await turn();
  assert.deepEqual(Socket.last.sent.at(-1), { op: "auth", id: "token", token: "token 2" });
  client.close();
  client.refreshToken();

  const open = clientWith(() => "t", WELCOME);
  open.refreshToken();
  await turn();
  assert.deepEqual(ops(), ["subscribe"]);
  open.close();
});

test("another token is presented after one that was refused, while the one before holds", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const turns = async () => { for (let count = 0; count < 5; count += 1) await Promise.resolve(); };
  const replaced = [];
  const tokens = ["good", "", "wrong", "too early", "late"];
  const client = clientWith((ending) => {
    replaced.push(ending);
    return tokens[replaced.length - 1];
  });
  await turns();
  Socket.last.bring({ type: "authenticated", id: "token", expires: 1 });
  Socket.last.serve();
  Socket.last.bring({ type: "expiring", expires: 1 });
  await turns();
  t.mock.timers.tick(1000);
  await turns();
  for (const [code, shown] of [["unauthorized", "wrong"], ["unavailable", "too early"]]) {
    assert.equal(Socket.last.sent.at(-1).token, shown);
    Socket.last.bring({ type: "error", id: "token", code, message: "no" });
    await turns();
    assert.equal(Socket.last.sent.at(-1).token, shown, "not at once");
    t.mock.timers.tick(1000);
    await turns();
  }
  assert.equal(Socket.last.sent.at(-1).token, "late");
  assert.deepEqual(replaced, [null, "good", "good", "wrong", null], "one that could not be checked may be good");
  assert.equal(client.view(SYMBOL).state, "live");
  client.close();
});

test("a gateway that cannot check a first token is asked again", async () => {
  const client = clientWith("t");
  const problems = [];
  client.addEventListener("problem", ({ detail: { code } }) => problems.push(code));
  const first = Socket.last;
  first.bring({ type: "error", id: "token", code: "unavailable", message: "no keys yet" });
  assert.equal(client.state, "waiting");
  await until(client, () => Socket.last !== first, "it connects again");
  assert.deepEqual(problems, ["unavailable"]);
  assert.notEqual(client.view(SYMBOL).state, "removed");
  client.close();
});

test("after a refusal nothing is asked of the gateway before there is another token", async () => {
  let give;
  const replaced = [];
  const client = clientWith((ending) => {
    replaced.push(ending);
    return replaced.length === 1 ? "first" : new Promise((resolve) => { give = resolve; });
  });
  await turn();
  Socket.last.bring({ type: "authenticated", expires: 1 });
  Socket.last.serve();
  const first = Socket.last;
  first.end(4401, "unauthorized");
  await until(client, () => give !== undefined, "the function is called");
  assert.deepEqual(replaced, [null, "first"]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(Socket.last, first, "no connection that only waits");
  assert.equal(client.state, "waiting");
  give("second");
  await until(client, () => Socket.last !== first, "it connects again");
  Socket.last.open();
  Socket.last.bring(REQUIRED);
  await turn();
  assert.deepEqual(Socket.last.sent.map(({ op, token, resume }) => [op, token ?? Object.keys(resume)]), [
    ["auth", "second"], ["subscribe", [SYMBOL]],
  ], "it is shown, and the book goes on");
  assert.equal(replaced.length, 2, "the function was called once for it");
  client.close();
});

test("a client that is closed while it waits for a token stays closed", async () => {
  let give;
  let count = 0;
  const client = clientWith(() => (count += 1) === 1 ? "t" : new Promise((resolve) => { give = resolve; }));
  await turn();
  Socket.last.bring({ type: "authenticated" });
  const first = Socket.last;
  first.end(4401);
  await until(client, () => give !== undefined, "the function is called");
  client.close();
  give("late");
  await turn();
  assert.equal(client.state, "ended");
  assert.equal(Socket.last, first);
});

test("a function that has none after a refusal is asked again later", async () => {
  let count = 0;
  const client = clientWith(() => {
    count += 1;
    if (count === 2) throw new Error("S3cr3t");
    return `token ${count}`;
  });
  await turn();
  Socket.last.bring({ type: "authenticated" });
  const first = Socket.last;
  first.end(4401);
  await until(client, () => Socket.last !== first, "it connects again");
  assert.equal(count, 3);
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
