/**
 * A hook for React, Preact, and whatever else has `useSyncExternalStore`. It imports nothing:
 *
 *     import { useSyncExternalStore } from "react";
 *     import { bookHook } from "depthcast/react";
 *
 *     export const useBook = bookHook(useSyncExternalStore);
 *
 *     function Spread({ client }) {
 *       const book = useBook(client, "BTC-USD", { depth: 5 });
 *       const [bid, ask] = [book.bids[0], book.asks[0]];
 *       return bid && ask ? <p>{book.price(bid[0])} {book.price(ask[0])} {book.state}</p> : <p>waiting</p>;
 *     }
 *
 * A component is drawn again only if what it shows has changed. Components that show the same symbol share one
 * subscription, of the greatest depth and the least interval that one of them wants. It begins with the first of them
 * and ends after the last. So leave a symbol that a hook shows to the hook: do not call `client.subscribe` for it. A
 * symbol comes in one grouping at a time: components that want another one show nothing meanwhile.
 */
import { keyOf, subscriptionOf } from "./subscription.js";
import { View } from "./view.js";

const stores = new WeakMap(); // client → Stores

/** Make the hook `useBook(client, symbol, options)`; without a client or a symbol its book is empty. */
export function bookHook(useSyncExternalStore) {
  return function useBook(client, symbol, options = {}) {
    const { subscribe, snapshot } = client && symbol ? bookStore(client, symbol, options) : NOTHING;
    return useSyncExternalStore(subscribe, snapshot, snapshot);
  };
}

/**
 * A book as an external store, for other frameworks: `subscribe(listener)` returns the function that ends it,
 * `snapshot()` the `Top`. The same arguments give the same store. Throws a TypeError for arguments of another kind.
 */
export function bookStore(client, symbol, options) {
  if (typeof symbol !== "string" || symbol === "*") throw new TypeError(`symbol is ${String(symbol)}: give one symbol`);
  const wanted = subscriptionOf(options);
  let ofClient = stores.get(client);
  if (!ofClient) stores.set(client, (ofClient = new Stores(client)));
  return ofClient.store(symbol).reader(wanted);
}

/** The stores of a client. They share its listeners, so that a change costs the same however many books are shown. */
class Stores {
  #client;
  #bySymbol = new Map();
  #active = 0; // stores with a subscription
  #listener = ({ detail: { view } }) => this.#bySymbol.get(view.symbol)?.changed(view);

  constructor(client) {
    this.#client = client;
  }

  store(symbol) {
    let store = this.#bySymbol.get(symbol);
    if (!store) this.#bySymbol.set(symbol, (store = new Store(this.#client, symbol, this)));
    return store;
  }

  listen() {
    this.#active += 1;
    if (this.#active === 1) for (const name of EVENTS) this.#client.addEventListener(name, this.#listener);
  }

  unlisten() {
    this.#active -= 1;
    if (!this.#active) for (const name of EVENTS) this.#client.removeEventListener(name, this.#listener);
  }
}

/** What all components share that show one symbol of one client. */
class Store {
  #client;
  #siblings;
  #symbol;
  #readers = new Map(); // key of the options → reader
  #view = null; // of the subscription
  #nothing;
  #shown; // the newest view that has a book
  #listeners = new Set(); // of components: { options, changed }
  #settling = false;

  constructor(client, symbol, siblings) {
    this.#client = client;
    this.#symbol = symbol;
    this.#siblings = siblings;
    this.#shown = this.#nothing = new View(symbol, ANY);
  }

  reader(options) {
    const key = keyOf(options);
    let reader = this.#readers.get(key);
    if (!reader) {
      reader = {
        subscribe: (changed) => this.#subscribe({ options, changed }),
        snapshot: () => this.#shownIn(options.group).top(options.depth || Infinity),
      };
      this.#readers.set(key, reader);
    }
    return reader;
  }

  #subscribe(listener) {
    this.#listeners.add(listener);
    this.#settle();
    return () => {
      this.#listeners.delete(listener);
      this.#settle();
    };
  }

  /** What a component shows that wants levels grouped so: nothing, while they come in another grouping. */
  #shownIn(group) {
    return this.#shown.group === group ? this.#shown : this.#nothing;
  }

  /** Subscribe to what the components want together, once all that are drawn at a time have said it. */
  #settle() {
    if (this.#settling) return;
    this.#settling = true;
    queueMicrotask(() => {
      this.#settling = false;
      this.#settled();
    });
  }

  #settled() {
    if (!this.#listeners.size) {
      if (this.#view) this.#end();
      return;
    }
    const options = common([...this.#listeners].map((listener) => listener.options));
    const same = this.#view && keyOf(this.#view.options) === keyOf(options);
    if (same && this.#view.state !== "removed") return; // what was withdrawn may be listed again
    if (!this.#view) this.#siblings.listen();
    this.#view = this.#client.subscribe(this.#symbol, options);
    this.changed(this.#view);
  }

  #end() {
    this.#siblings.unlisten();
    if (this.#client.view(this.#symbol) === this.#view) this.#client.unsubscribe(this.#symbol);
    this.#view = null;
    this.#shown = this.#nothing;
  }

  /** While a view that replaces another has no book yet, the other one goes on being shown. */
  changed(view) {
    if (view !== this.#view) return;
    if (view.book.seq || !this.#shown.book.seq || view.state === "removed") this.#shown = view;
    for (const { changed } of [...this.#listeners]) changed();
  }
}

/** The options of one subscription that is enough for all, or for those that want the grouping wanted last. */
function common(wanted) {
  const { group } = wanted.at(-1);
  const served = wanted.filter((options) => options.group === group);
  const depths = served.map(({ depth }) => depth);
  const depth = depths.includes(0) ? 0 : Math.max(...depths);
  const intervalMs = Math.min(...served.map((options) => options.intervalMs));
  return subscriptionOf({ depth, intervalMs, group, orders: served.some(({ orders }) => orders) });
}

const ANY = subscriptionOf();
const EVENTS = ["update", "status"];
const EMPTY = new View("", ANY).top();
const NOTHING = { subscribe: () => () => {}, snapshot: () => EMPTY };
