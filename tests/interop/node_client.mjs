// ws and undici under Node: node node_client.mjs LIBRARY MODULES URL ENCODING COMPRESSION ENDING (see peers.py).
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { Follower } from "./follow.mjs";

const [library, modules, url, encoding, compression, ending] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const symbols = ["AAA", "BBB"];

const say = (value) => console.log(JSON.stringify(value));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const { decode, encode } = require("@msgpack/msgpack");
const { WebSocket } = require(library);
const options = library === "ws" ? [{ perMessageDeflate: compression === "on" }] : [];
const socket = new WebSocket(url, [`depthcast.v1.${encoding}`], ...options);
const follower = encoding === "json" ? new Follower(socket) : new Follower(socket, encode, decode);

await follower.welcomed();
const request = follower.encode({ op: "subscribe", id: 1, symbols, depth: 100 });
if (library === "ws") {
  // In three fragments, with a ping between them.
  const binary = encoding !== "json";
  socket.send(request.slice(0, 5), { fin: false, binary });
  const ponged = new Promise((resolve) => socket.once("pong", resolve));
  socket.ping("between");
  socket.send(request.slice(5, 20), { fin: false, binary });
  socket.send(request.slice(20), { fin: true, binary });
  if (String(await ponged) !== "between") throw new Error("another pong than was asked for");
} else {
  socket.send(request);
}
say(await follower.subscribed(symbols));
await follower.ping();
say(await follower.reach(JSON.parse((await lines.next()).value)));
say(await follower.end(ending));
process.exit(0);
