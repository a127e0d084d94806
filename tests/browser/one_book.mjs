// RUNTIME one_book.mjs URL: reports connections that are refused, then follows a symbol through whatever the gateway at
// URL does, prints `RECONNECTS PRICE` once its book is live, and ends by itself.
import process from "node:process";

import { Client } from "../../web/depthcast.js";

const options = { backoffMs: [5, 50], connectTimeoutMs: 500 };

const nobody = new Client("http://127.0.0.1:1", options);
await new Promise((resolve) => nobody.addEventListener("state", () => nobody.reconnects === 2 && resolve()));
nobody.close();

const client = new Client(process.argv[2], options);
client.subscribe("BTC-USD", { depth: 5 });
for await (const view of client) {
  if (view.state !== "live" || client.reconnects < 4) continue;
  const top = view.top(1);
  console.log(client.reconnects, top.price(top.bids[0][0]));
  break;
}
client.close();
