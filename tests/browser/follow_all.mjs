// node follow_all.mjs URL ENCODING: subscribes to "*" and, for each line of JSON with a digest by symbol on standard
// input, waits until all these books are live and right, and prints the counters.
import { createInterface } from "node:readline";

import { Client, digestOf, json } from "../../web/depthcast.js";
import { msgpack } from "../../web/msgpack.js";
import { until } from "./story.mjs";

const [, , url, encoding] = process.argv;
const client = new Client(url, { encoding: { json, msgpack }[encoding], backoffMs: [5, 50] });
client.addEventListener("problem", ({ detail }) => {
  console.error(detail);
  process.exitCode = 1;
});
client.subscribe("*", { depth: 10 });
const right = ([symbol, digest]) => {
  const view = client.view(symbol);
  return view?.state === "live" && view.book.digest === digest && digestOf(view.book.bids, view.book.asks) === digest;
};
for await (const line of createInterface({ input: process.stdin })) {
  const wanted = Object.entries(JSON.parse(line));
  await until(client, () => wanted.every(right), "all books are right", 20_000);
  console.log(JSON.stringify(client.counters));
}
client.close();
