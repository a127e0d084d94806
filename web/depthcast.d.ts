/** The Depthcast client: order books that stay correct through gaps, slow links and lost connections. */

export { decimal, parsed, type Size } from "./format.js";

/** A price in ticks and the quantity there in lots; with the option `orders` also the number of orders there. */
export type Level = readonly [price: number, quantity: number, orders?: number];
export type Side = "bids" | "asks";

/** "live": known to be current. "stale": correct once, possibly old. "removed": the subscription is over. */
export type ViewState = "live" | "stale" | "removed";

/** Of the connection; "waiting" to try again, "idle" until the next subscription, "ended" for good. */
export type ConnectionState = "connecting" | "open" | "waiting" | "idle" | "ended";

// --- messages (docs/protocol.md, section 3)

export interface Welcome {
  readonly type: "welcome";
  readonly protocol: number;
  readonly session: string;
  readonly heartbeat_ms: number;
  readonly limits: Readonly<Record<string, number | boolean>>;
  /** "required": nothing is served before a token was presented. "token": one was. Absent where none are taken. */
  readonly auth?: string;
  /** When the token of the connection expires, in microseconds since 1970. */
  readonly expires?: number;
}

/** A snapshot; one that came in parts is put together before anybody sees it. */
export interface SnapshotMessage {
  readonly type: "snapshot";
  readonly symbol: string;
  readonly depth: number;
  /** Ticks in a level, where levels are grouped. */
  readonly group?: number;
  readonly seq: number;
  /** Time of the broadcast, in microseconds since 1970. */
  readonly ts: number;
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
  readonly digest: number;
  /** Of the number of orders, where that was asked for. */
  readonly orders_digest?: number;
  /** Newest time at the source of what is in it, in microseconds since 1970, where the producer names one. */
  readonly event_ts?: number;
}

/** Levels that changed; quantity 0 means that the level left the view. */
export interface DeltaMessage {
  readonly type: "delta";
  readonly symbol: string;
  readonly depth: number;
  /** Ticks in a level, where levels are grouped. */
  readonly group?: number;
  readonly prev_seq: number;
  readonly seq: number;
  /** Time of the broadcast, in microseconds since 1970. */
  readonly ts: number;
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
  /** Broadcasts in this message; 1 = none was skipped. */
  readonly merged: number;
  readonly digest: number;
  /** Of the number of orders, where that was asked for. */
  readonly orders_digest?: number;
  /** Newest time at the source of what is in it, in microseconds since 1970, where the producer names one. */
  readonly event_ts?: number;
  /** What held the broadcasts back that came merged: "buffer", "credit" or "interval". */
  readonly because?: string;
}

export type Message = { readonly type: string; readonly [field: string]: unknown };

// --- books

/** The result of offering a message to a book. */
export const Outcome: {
  readonly APPLIED: "applied";
  readonly ALREADY: "already";
  readonly GAP: "gap";
  readonly MISMATCH: "mismatch";
};
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** A view of one order book, kept by the rule of continuity. Nothing changes unless the outcome is "applied". */
export class Book {
  /** Number of its state; 0 before the first snapshot. */
  readonly seq: number;
  /** Time of the last broadcast in it, in microseconds since 1970. */
  readonly ts: number;
  /** Newest time at the source of what it includes, in microseconds since 1970; null where the producer names none. */
  readonly eventTs: number | null;
  readonly digest: number;
  /** Number of messages applied. */
  readonly changes: number;
  /** Quantity by price. */
  readonly bids: ReadonlyMap<number, number>;
  readonly asks: ReadonlyMap<number, number>;
  /** Number of orders by price; null unless the option `orders` is set. */
  readonly orders: { readonly bids: ReadonlyMap<number, number>; readonly asks: ReadonlyMap<number, number> } | null;
  replace(message: SnapshotMessage): Outcome;
  apply(message: DeltaMessage): Outcome;
  /** The best `count` levels of a side, best first. */
  best(side: Side, count?: number): Level[];
}

/** The prices at which two books differ. */
export function difference(one: Book, other: Book): { bids: Set<number>; asks: Set<number> };

/**
 * The best levels of a view at one moment, frozen. What did not change is the same object as before: a level, a side,
 * and the whole.
 */
export class Top {
  private constructor();
  readonly symbol: string;
  readonly state: ViewState;
  /** Why a producer calls the book stale; null while none does. */
  readonly staleReason: string | null;
  /** Age of the last input, in milliseconds, if the book is stale because that is too old; null otherwise. */
  readonly inputAgeMs: number | null;
  readonly tickSize: string;
  readonly lotSize: string;
  /** Best first. */
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
  /** A price as exact text: `price(6500010)` is "65000.10" for a tick size of "0.01". */
  price(ticks: number): string;
  /** A quantity as exact text. */
  quantity(lots: number): string;
}

/** A view has the options of its subscription. */
export interface View extends Readonly<Required<SubscribeOptions>> {}

/** One subscribed symbol: its book, and whether it is current. */
export class View {
  private constructor();
  readonly symbol: string;
  readonly book: Book;
  readonly state: ViewState;
  /** Why a producer calls the book stale; null while none does. */
  readonly staleReason: string | null;
  /** Age of the last input, in milliseconds, if the book is stale because that is too old; null otherwise. */
  readonly inputAgeMs: number | null;
  /** Sizes of a tick and a lot as decimal text, known once subscribed. */
  readonly tickSize: string;
  readonly lotSize: string;
  /**
   * The best `count` levels of each side: the same object for as long as nothing in it changes.
   * Throws a RangeError for a count that is negative or no number.
   */
  top(count?: number): Top;
}

// --- the client

export interface SubscribeOptions {
  /** Levels per side: 1, 5, 10, 25 (default), 50, 100, 500, 1000, or 0 for the full book. */
  depth?: number;
  /** Least time between two deltas of a symbol, in milliseconds; 0 (default) for every broadcast. */
  intervalMs?: number;
  /** Sum levels up in buckets of so many ticks; 1 (default) leaves them as they are. Depth counts the buckets. */
  group?: number;
  /** Give the number of orders at each level, of feeds by order; false by default. */
  orders?: boolean;
}

/** How messages are written in frames: `json`, or `msgpack` of "depthcast/msgpack". */
export interface Encoding {
  readonly subprotocol: string;
  encode(message: object): string | Uint8Array;
  /** Throws at anything else than one message. */
  decode(data: unknown): unknown;
}
export const json: Encoding;

/** Delays received messages, keeping their order. */
export interface Link {
  /** Calls `pass` when the message may go on. */
  deliver(bytes: number, pass: () => void): void;
  reset(): void;
}

/** Says when credit is given back, by calling `pay`. */
export type Pace = (pay: () => void) => void;

/** Gives credit back when the browser draws: in a hidden tab the gateway stops sending and conflates. */
export function animationFrame(pay: () => void): void;

export interface ClientOptions {
  /** Maximum number of snapshots and deltas in flight; 0 leaves the limit to TCP. Default 0, with a pace 64. */
  creditWindow?: number;
  /** When credit is given back, such as `animationFrame`; by default after each half of the window. */
  pace?: Pace | null;
  /** First and longest wait before connecting again, in milliseconds; [200, 10000] by default. */
  backoffMs?: readonly [first: number, longest: number];
  /** A connection that is not open after this long counts as lost; 10 s by default. */
  connectTimeoutMs?: number;
  encoding?: Encoding;
  link?: Link;
  /**
   * What a gateway that wants a token is shown. A function is called for each connection, and before the token expires.
   * It gets the token that it has to replace, because that is about to expire or was refused, or null.
   */
  token?: string | ((ending: string | null) => string | Promise<string>) | null;
  /** A class like the browser's WebSocket, where there is no global one: that of the package ws, for example. */
  WebSocket?: new (url: string, subprotocol: string) => object;
}

export interface Counters {
  snapshots: number;
  deltas: number;
  /** Broadcasts that came merged into another delta. */
  merged: number;
  /** Repeated messages, and those of replaced subscriptions. */
  ignored: number;
  gaps: number;
  mismatches: number;
  /** Books that went on after a lost connection without a snapshot. */
  resumed: number;
  reconnects: number;
  bytes: number;
}

export interface ClientEvents {
  /** A snapshot or delta was applied and its digest is correct. */
  update: { view: View; message: SnapshotMessage | DeltaMessage };
  /** `view.state` may have changed. */
  status: { view: View };
  /** The gateway ended a subscription. */
  removed: { symbol: string; reason: string };
  /** A request was refused, or a message made no sense (`bad_message`). */
  problem: { code: string; text: string; symbol?: string };
  /** The gateway took a token, or says that it is about to expire: at `expiresMs`, in milliseconds since 1970. */
  token: { expiring: boolean; expiresMs: number | null };
  /** The state of the connection; `retryMs`: until the next attempt, while "waiting". */
  state: { state: ConnectionState; code: number; reason: string; retryMs: number };
}

/** A `CustomEvent`. These types are declared here, so that programs for Node need no types of a browser. */
export interface ClientEvent<Detail> extends Event {
  readonly detail: Detail;
}

export type Listener<E extends Event> = ((event: E) => void) | { handleEvent(event: E): void };

export interface ListenerOptions {
  capture?: boolean;
  once?: boolean;
  passive?: boolean;
  signal?: AbortSignal;
}

/** The gateway ended the connection for good: `code` and `reason` say why. */
export class ConnectionEnded extends Error {
  constructor(code: number, reason: string);
  readonly code: number;
  readonly reason: string;
}

/** A connection to a gateway, made again whenever it is lost, and the books subscribed on it. */
export class Client extends EventTarget implements AsyncIterable<View> {
  /**
   * Connects at once, and again whenever the connection is lost, until `close()`. A gateway ends connections on which
   * nothing is subscribed for long; then the next subscription connects again.
   * Throws a TypeError or a RangeError for options that make no sense, and where there is no WebSocket.
   */
  constructor(url: string | URL, options?: ClientOptions);
  readonly state: ConnectionState;
  /** Why the gateway ended the connection for good; null before that. */
  readonly ending: ConnectionEnded | null;
  readonly reconnects: number;
  readonly bytes: number;
  readonly counters: Counters;
  /** The gateway's greeting, with its limits; null before the first connection. */
  readonly welcome: Welcome | null;
  /** The views by symbol. */
  readonly views: ReadonlyMap<string, View>;
  view(symbol: string): View | undefined;
  /** All symbols, also those listed later; returns the map of all views. */
  subscribe(symbols: "*" | readonly ["*"], options?: SubscribeOptions): ReadonlyMap<string, View>;
  /** One symbol; returns its view, empty until the first `update`. */
  subscribe(symbol: string, options?: SubscribeOptions): View;
  subscribe(symbols: readonly string[], options?: SubscribeOptions): View[];
  subscribe(
    symbols: string | readonly string[],
    options?: SubscribeOptions,
  ): View | View[] | ReadonlyMap<string, View>;
  /** End the subscription to a symbol, to each of a list of symbols, or by "*" to everything. */
  unsubscribe(symbols: string | readonly string[]): void;
  /**
   * The views as they change, conflated to one for each symbol. Ends when the client is closed; throws
   * `ConnectionEnded` when the gateway ended the connection for good.
   */
  [Symbol.asyncIterator](): AsyncGenerator<View, void, undefined>;
  /** Present another token now, on the open connection, if `token` is a function: it is called with null. */
  refreshToken(): void;
  close(): void;
  addEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: Listener<ClientEvent<ClientEvents[K]>> | null,
    options?: boolean | ListenerOptions,
  ): void;
  addEventListener(type: string, listener: Listener<Event> | null, options?: boolean | ListenerOptions): void;
  removeEventListener<K extends keyof ClientEvents>(
    type: K,
    listener: Listener<ClientEvent<ClientEvents[K]>> | null,
    options?: boolean | ListenerOptions,
  ): void;
  removeEventListener(type: string, listener: Listener<Event> | null, options?: boolean | ListenerOptions): void;
}

// --- for those who bring their own socket

export interface SessionOptions {
  send(message: Message): void;
  tell<K extends Exclude<keyof ClientEvents, "state" | "token">>(kind: K, detail: ClientEvents[K]): void;
  creditWindow?: number;
  pace?: Pace | null;
}

/** The client without its socket: messages in, messages out. It outlives connections. */
export class Session {
  constructor(options: SessionOptions);
  readonly views: ReadonlyMap<string, View>;
  readonly welcome: Welcome | null;
  readonly connected: boolean;
  /** The gateway has no instruments yet: drop the connection and make a new one. */
  readonly tryLater: boolean;
  /** Whether there is any subscription, answered or not. */
  readonly wanted: boolean;
  /** Whether the gateway has begun a subscription on this connection that has not ended. */
  readonly served: boolean;
  /** Whether the gateway asked to wait with some subscriptions; `askAgain` repeats them. */
  readonly postponed: boolean;
  readonly counters: Omit<Counters, "reconnects" | "bytes">;
  subscribe(symbols: "*" | readonly ["*"], options?: SubscribeOptions): ReadonlyMap<string, View>;
  subscribe(symbol: string, options?: SubscribeOptions): View;
  subscribe(symbols: readonly string[], options?: SubscribeOptions): View[];
  subscribe(
    symbols: string | readonly string[],
    options?: SubscribeOptions,
  ): View | View[] | ReadonlyMap<string, View>;
  unsubscribe(symbols: string | readonly string[]): void;
  opened(): void;
  lost(): void;
  askAgain(): void;
  /** Handle one message of the gateway; false if it is malformed. */
  receive(message: unknown): boolean;
}

/** Waits between attempts: doubling, with full jitter. */
export class Backoff {
  constructor(firstMs: number, mostMs: number, random?: () => number);
  nextMs(): number;
  reset(): void;
}

// --- the digest (docs/protocol.md, section 1.2)

/** The usual crc32 of ASCII text, as an unsigned number. */
export function crc32(text: string): number;
/** The weight of a level; `side` is "b" or "a". */
export function weight(side: "b" | "a", price: number): number;
/** The digest of whole sides. */
export function digestOf(bids: Iterable<Level>, asks: Iterable<Level>): number;
