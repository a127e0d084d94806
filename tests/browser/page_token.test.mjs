// The token of the page: which one its connections show, and when somebody is asked for another.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Token, subjectOf, withToken } from "../../web/page/token.js";
import { standingOf } from "../../web/page/standing.js";

const of = (sub, more = {}) => `e30.${Buffer.from(JSON.stringify({ sub, ...more })).toString("base64url")}.sig`;
const [FIRST, SECOND, OTHER] = [of("alice", { exp: 1 }), of("alice", { exp: 2 }), of("bob")];

/** Whether a promise is still waiting. */
const waits = (promise) => Promise.race([promise.then(() => false), new Promise((done) => setTimeout(done, 0, true))]);

function taken(text = FIRST) {
  const token = new Token(text);
  token.takes(text);
  return token;
}

test("the token of the address goes to every connection, and nobody is asked", async () => {
  const token = new Token(FIRST);
  assert.equal(await token.next(null), FIRST);
  token.takes(FIRST);
  assert.equal(await token.next(null), FIRST);
  assert.deepEqual([token.want, token.isBarred, token.current], ["", false, FIRST]);
});

test("without one somebody is asked, and all who wait get it", async () => {
  const changes = [];
  const token = new Token(null, () => changes.push(token.want));
  const [one, two] = [token.next(null), token.next(null)];
  assert.ok(await waits(one));
  assert.deepEqual([token.want, token.isBarred, token.current], ["missing", true, null]);
  token.refuses(null, "no token was presented in time");
  assert.equal(token.want, "missing");
  assert.ok(token.give(` ${FIRST}\n`), "as it is pasted");
  assert.deepEqual([await one, await two], [FIRST, FIRST]);
  assert.equal(token.isBarred, false);
  assert.equal(changes.at(-1), "");
});

test("what can be no token is not taken", () => {
  const token = new Token();
  for (const wrong of ["", "  ", "two words", "é", "a\nb", "\u0000"]) assert.equal(token.give(wrong), false, wrong);
  assert.equal(token.current, null);
});

test("another one is asked for while the one that expires is good", async () => {
  const token = taken();
  token.expires(FIRST, 1234);
  const next = token.next(FIRST);
  assert.ok(await waits(next));
  assert.deepEqual([token.want, token.isBarred, token.endsMs, token.current], ["expiring", false, 1234, FIRST]);
  assert.equal(await token.next(null), FIRST, "a connection that is lost meanwhile");
  token.give(SECOND);
  assert.ok(token.isChecked);
  assert.equal(await next, SECOND);
  assert.equal(token.current, FIRST, "until a gateway takes the other");
  token.takes(SECOND);
  assert.deepEqual([token.want, token.isChecked, token.current, token.endsMs], ["", false, SECOND, null]);
  assert.equal(await token.next(FIRST), SECOND, "a slow connection hears late that the first one expires");
  token.expires(FIRST, 5);
  token.refuses(FIRST, "the token has expired");
  assert.deepEqual([token.want, token.endsMs, token.current], ["", null, SECOND], "and late that it has expired");
});

test("one that is refused leaves the one before, and is asked for again", async () => {
  const token = taken();
  token.expires(FIRST, 1234);
  const next = token.next(FIRST);
  token.give(SECOND);
  await next;
  token.refuses(SECOND, "the signature is wrong");
  assert.deepEqual([token.want, token.text, token.current], ["expiring", "the signature is wrong", FIRST]);
  assert.ok(await waits(token.next(SECOND)), "the one that expires is not shown again");
  token.refuses(SECOND, "again, on another connection");
  assert.equal(token.text, "the signature is wrong");
});

test("one that is refused before the first one expires is said to be", async () => {
  const token = taken();
  token.give(SECOND);
  token.refuses(SECOND, "it is not valid yet");
  assert.deepEqual([token.want, token.text, token.isBarred], ["refused", "it is not valid yet", false]);
  assert.ok(await waits(token.next(SECOND)));
});

test("after the end nothing is shown until there is another", async () => {
  const token = taken();
  token.refuses(FIRST, "the token was revoked");
  token.refuses(FIRST, "");
  assert.deepEqual([token.want, token.text, token.isBarred, token.current], ["ended", "the token was revoked", true, null]);
  const next = token.next(FIRST);
  assert.ok(await waits(next));
  assert.equal(token.want, "ended");
  token.give(SECOND);
  assert.equal(await next, SECOND);
  token.refuses(SECOND, "the signature is wrong");
  assert.deepEqual([token.want, token.text], ["ended", "the signature is wrong"]);
});

test("another's token takes the place of one that is good", () => {
  const token = taken();
  token.give(OTHER);
  assert.deepEqual([token.current, token.isTaken], [OTHER, false]);
  assert.deepEqual([subjectOf(FIRST), subjectOf(OTHER)], ["alice", "bob"]);
  for (const none of ["", "a", "a.b.c", "a.%.c"]) assert.equal(subjectOf(none), "");
});

test("a client tells what its gateway says of the token that it has shown", async () => {
  const token = new Token(FIRST);
  let ask;
  const client = withToken(token, (given) => {
    ask = given;
    return new EventTarget();
  });
  const say = (kind, detail) => client.dispatchEvent(new CustomEvent(kind, { detail }));
  assert.equal(await ask(null), FIRST);
  say("token", { expiring: false, expiresMs: 9 });
  assert.ok(token.isTaken);
  say("token", { expiring: true, expiresMs: 9 });
  assert.equal(token.endsMs, 9);
  say("problem", { code: "forbidden", text: "not this symbol" });
  say("state", { code: 1012 });
  assert.ok(token.isTaken);
  say("problem", { code: "unauthorized", text: "the token has expired" });
  say("state", { code: 4401 });
  assert.deepEqual([token.want, token.text], ["ended", "the token has expired"]);
});

test("a book is not live while a token is wanted first", () => {
  const live = { symbol: "AAA", state: "live", stale: false, staleReason: null, book: { seq: 5 } };
  const given = { connection: "open", lost: null, retryInMs: 0, silent: false, refusal: "", paused: false, waking: false };
  const said = standingOf({ ...given, view: live, barred: "The token has expired." });
  assert.deepEqual([said.state, said.word, said.alarm], ["ended", "no token", "The token has expired."]);
});
