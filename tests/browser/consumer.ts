// A program that uses everything that the package declares. tsc checks it against the declarations, then it is run:
// what is declared and missing in the code fails here.
import {
  Backoff, Book, Client, ConnectionEnded, Outcome, Session, Top, View, animationFrame, crc32, decimal, difference, digestOf,
  json, parsed, weight,
  type ClientOptions, type ConnectionState, type DeltaMessage, type Level, type Pace, type Size, type SnapshotMessage,
} from "depthcast";
import { amount, decimal as sameDecimal, duration, half, trimmed } from "depthcast/format";
import { msgpack } from "depthcast/msgpack";
import { bookHook, bookStore, type UseBook } from "depthcast/react";

declare function print(...values: unknown[]): void;
(globalThis as { print?: unknown }).print = console.log;

class Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  sent: string[] = [];

  constructor(readonly url: string, readonly subprotocol: string) {
    sockets.push(this);
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {}
}
const sockets: Socket[] = [];
let wrong: () => unknown; // what tsc must refuse; never run

const snapshot: SnapshotMessage = {
  type: "snapshot", symbol: "BTC-USD", depth: 5, seq: 1, ts: 2, bids: [[6500010, 5]], asks: [[6500020, 7]], digest: 0,
};
const bids: readonly Level[] = snapshot.bids;
const good: SnapshotMessage = { ...snapshot, digest: digestOf(bids, snapshot.asks) };
const delta: DeltaMessage = {
  type: "delta", symbol: "BTC-USD", depth: 5, prev_seq: 1, seq: 2, ts: 3, bids: [], asks: [], merged: 1, digest: good.digest,
  event_ts: 3,
};

function must(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}

// Books.
const book = new Book();
must(book.replace(good) === Outcome.APPLIED, "replace");
must(book.apply(delta) === "applied" && book.apply(delta) === Outcome.ALREADY, "apply");
must(book.seq + book.ts + book.changes + book.digest > 0 && book.bids.get(6500010) === 5 && book.asks.size === 1, "fields");
must(book.best("bids", 1)[0]?.[1] === 5, "best");
const differing: { bids: Set<number>; asks: Set<number> } = difference(book, new Book());
must(differing.bids.has(6500010) && crc32("b") !== weight("a", 1), "difference");
must([Outcome.GAP, Outcome.MISMATCH].every((outcome: string) => outcome.length > 0), "outcomes");
// @ts-expect-error: a book is changed only by messages.
wrong = () => { book.seq = 5; };

// Text.
const size: Size = parsed("0.01");
must(decimal(6500010, size) === "65000.10" && sameDecimal(1n, "0.5") === "0.5" && half(size).scale === 3, "decimal");
must(trimmed(["1.0"])[0] === "1" && amount(5) === "5 B" && duration(5) === "5 ms", "format");
// @ts-expect-error: a size is text or parsed text.
wrong = () => decimal(1, 0.01);

// The client.
const pace: Pace = (pay) => pay();
const options: ClientOptions = {
  creditWindow: 2, pace, backoffMs: [1, 2], connectTimeoutMs: 5, encoding: json, link: { deliver: (_, pass) => pass(), reset() {} },
  WebSocket: Socket,
};
const client = new Client(new URL("http://gateway.test"), options);
const socket = sockets[0]!;
let updates = 0;
client.addEventListener("update", ({ detail: { view, message } }) => {
  if (message.type === "delta") updates += message.because === undefined ? message.merged : 0;
  else updates += view.book.seq;
});
client.addEventListener("state", ({ detail: { state, code, reason, retryMs } }) => {
  const known: ConnectionState = state;
  must(known.length > 0 && code >= 0 && reason.length >= 0 && retryMs >= 0, "state");
});
client.addEventListener("problem", ({ detail: { code, text, symbol } }) => print(code, text, symbol?.length));
client.addEventListener("removed", ({ detail: { symbol, reason } }) => print(symbol, reason));
client.addEventListener("status", ({ detail: { view } }) => must(["live", "stale", "removed"].includes(view.state), "status"));
// @ts-expect-error: there is no such field.
client.addEventListener("update", ({ detail: { book } }) => print(book));
const other = (event: Event) => print(event.type);
client.addEventListener("other", other);
client.removeEventListener("other", other);
client.removeEventListener("status", null);

const view: View = client.subscribe("BTC-USD", { depth: 5, intervalMs: 0 });
const views: View[] = client.subscribe(["ETH-USD"], { group: 10, orders: false });
// @ts-expect-error: depth is a number.
wrong = () => client.subscribe("BTC-USD", { depth: "5" });
socket.onopen?.();
const deliver = (message: object): void => socket.onmessage?.({ data: JSON.stringify(message) });
deliver({ type: "welcome", protocol: 1, session: "x", heartbeat_ms: 5000, limits: { wildcard: true } });
const asked = socket.sent.map((text) => JSON.parse(text) as { op: string; id: number; symbols?: string[] });
const id = asked.find(({ symbols }) => symbols?.includes("BTC-USD"))?.id;
deliver({
  type: "subscribed", symbol: "BTC-USD", id, tick_size: "0.01", lot_size: "0.001", resumed: false, depth: 5, interval_ms: 0,
});
deliver(good);
deliver(delta);
must(updates === 2, `updates: ${updates}`);
must(client.welcome?.heartbeat_ms === 5000 && client.welcome.limits["wildcard"] === true && client.state === "open", "welcome");
must(client.counters.snapshots + client.counters.resumed + client.reconnects === 1 && client.bytes > 0, "counters");
must(client.view("BTC-USD") === view && client.views.size === 2 && views.length === 1 && client.ending === null, "views");

// Views.
const top: Top = view.top(1);
must(top === view.top(1) && top.price(top.bids[0]![0]) === "65000.10" && top.quantity(5) === "0.005", "top");
must(top.symbol === view.symbol && top.state === "live" && top.staleReason === view.staleReason, "top");
must(top.inputAgeMs === null && view.inputAgeMs === null && view.book.eventTs === 3, "times");
must(top.tickSize === view.tickSize && top.lotSize === view.lotSize && top.asks.length === 1, "sizes");
must(view.book.orders === null && !view.orders && view.top().bids[0]?.[2] === undefined, "orders");
must(view.depth === 5 && view.intervalMs === 0 && view.group === 1 && view.state === "live", "view");
// @ts-expect-error: a subscription gives it, and a view has it.
wrong = () => { view.group = 5; };
// @ts-expect-error: it is frozen.
wrong = () => top.bids.push([1, 1]);
// @ts-expect-error: it is frozen.
wrong = () => { top.state = "stale"; };

// The hook.
const useBook: UseBook = bookHook((subscribe, getSnapshot, getServerSnapshot) => {
  subscribe(() => {})();
  return (getServerSnapshot ?? getSnapshot)();
});
must(useBook(null, "BTC-USD").bids.length === 0 && useBook(client, undefined, { depth: 5 }).asks.length === 0, "hook");
const store = bookStore(client, "SOL-USD", { depth: 1 });
const end: () => void = store.subscribe(() => {});
must(store.snapshot().state === "stale", "store");
end();

// Iteration.
for await (const changed of client) {
  must(changed.symbol === "BTC-USD", "iteration");
  break;
}
const all: ReadonlyMap<string, View> = client.subscribe("*");
must(all === client.views, "everything");
client.unsubscribe("ETH-USD");
client.unsubscribe(["BTC-USD"]);
client.unsubscribe("*");
client.close();
must(new ConnectionEnded(4408, "why").code === 4408 && new ConnectionEnded(4408, "why").reason === "why", "ended");

// What is under it.
const session = new Session({ send: (message) => must(message.type === undefined, "send"), tell() {}, creditWindow: 1, pace: null });
session.subscribe("BTC-USD");
session.opened();
must(session.connected && session.wanted && !session.served && !session.tryLater && !session.postponed, "session");
must(session.receive({ type: "later" }), "receive");
session.askAgain();
session.unsubscribe("BTC-USD");
session.lost();
must(session.views.size === 0 && session.welcome === null && session.counters.gaps === 0, "session");
const backoff = new Backoff(1, 2, () => 1);
must(backoff.nextMs() === 1, "backoff");
backoff.reset();
must(msgpack.subprotocol !== json.subprotocol && typeof animationFrame === "function", "encodings");
must((json.decode(json.encode({ a: 1 })) as { a: number }).a === 1, "json");
const written = msgpack.encode({ a: 1 });
must(typeof written !== "string" && (msgpack.decode(written.buffer) as { a: number }).a === 1, "msgpack");
print("everything is there");
