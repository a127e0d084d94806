// What the tests of the JavaScript client share: the story of docs/protocol.md, section 3.5, and a WebSocket by hand.
import { readFileSync } from "node:fs";

export const SYMBOL = "BTC-USD";
export const WELCOME = { type: "welcome", protocol: 1, session: "b6f0a1c2", heartbeat_ms: 5000, limits: {} };
export const SUBSCRIBED = {
  type: "subscribed", symbol: SYMBOL, depth: 5, interval_ms: 0, tick_size: "0.01", lot_size: "0.001", resumed: false, id: 1,
};
export const SNAPSHOT = {
  type: "snapshot", symbol: SYMBOL, depth: 5, seq: 5485363200001, ts: 1769904000150000,
  bids: [[6500010, 5], [6500000, 12]], asks: [[6500020, 7]], digest: 254150328,
};
export const DELTA = {
  type: "delta", symbol: SYMBOL, depth: 5, prev_seq: 5485363200001, seq: 5485363200002, ts: 1769904000200300,
  bids: [[6500010, 0], [6500005, 3]], asks: [[6500020, 5]], merged: 1, digest: 703952158,
};
export const AFTER = {
  type: "delta", symbol: SYMBOL, depth: 5, prev_seq: 5485363200002, seq: 5485486080001, ts: 1769904060100200,
  bids: [[6500007, 4]], asks: [], merged: 1, digest: 331257706,
};

/** A WebSocket whose end of the network is the test. */
export class Socket {
  static made = [];

  constructor(url, subprotocol) {
    Object.assign(this, { url, subprotocol, sent: [], closed: false });
    Socket.made.push(this);
  }

  static get last() {
    return Socket.made.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  open() {
    this.onopen?.({});
  }

  bring(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  fail(message) {
    this.onerror?.({ message });
  }

  end(code, reason = "") {
    this.onclose?.({ code, reason });
  }

  /** Answer the last subscribe with snapshots, as a gateway would. */
  serve() {
    const { id, symbols } = this.sent.findLast(({ op }) => op === "subscribe");
    for (const symbol of symbols) {
      this.bring({ ...SUBSCRIBED, id, symbol });
      this.bring({ ...SNAPSHOT, symbol });
    }
  }
}

/** Rows of the table in docs/protocol.md whose header begins so; each row is a list of cells. */
export function table(header) {
  const text = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf-8");
  const [, rest] = text.split(`\n| ${header} |`);
  const rows = rest.slice(0, rest.indexOf("\n\n")).split("\n").slice(2);
  return rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** Wait until `condition()` holds, looked at after each event of `client`; fails after a deadline. */
export async function until(client, condition, text, timeoutMs = 30_000) {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${text}: not so within ${timeoutMs} ms; state ${client.state}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
