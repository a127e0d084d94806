import type { Client, SubscribeOptions, Top } from "./depthcast.js";

/** The hook of React and Preact that `bookHook` needs. */
export type UseSyncExternalStore = <T>(
  subscribe: (changed: () => void) => () => void,
  getSnapshot: () => T,
  getServerSnapshot?: () => T,
) => T;

/**
 * The book of a symbol; the component is drawn again only if it changes. Components that show the same symbol share
 * one subscription. Without a client or a symbol the book is empty.
 */
export type UseBook = (
  client: Client | null | undefined,
  symbol: string | null | undefined,
  options?: SubscribeOptions,
) => Top;

/** Make the hook: `export const useBook = bookHook(useSyncExternalStore)`. */
export function bookHook(useSyncExternalStore: UseSyncExternalStore): UseBook;

/** A book as an external store, for other frameworks. */
export interface BookStore {
  /** Calls `changed` after each change; returns the function that ends it. */
  subscribe(changed: () => void): () => void;
  /** The book now: the same object until it changes. */
  snapshot(): Top;
}

/** The store of a symbol; the same arguments give the same store. Throws a TypeError for arguments of another kind. */
export function bookStore(client: Client, symbol: string, options?: SubscribeOptions): BookStore;
