// The connection of this page, and hooks that show what comes on it.
import { Client, animationFrame, type ConnectionState } from "depthcast";
import { bookHook } from "depthcast/react";
import { useEffect, useState, useSyncExternalStore } from "react";

const RETRY_MS = 1000;

/** One connection for all components. It is paced by what the browser draws: a hidden tab is sent next to nothing. */
export const client = new Client(window.location.origin, { pace: animationFrame });
import.meta.hot?.dispose(() => client.close());

/** `useBook(client, symbol, { depth })`: the book of a symbol, which is drawn again only if it changes. */
export const useBook = bookHook(useSyncExternalStore);

function onState(changed: () => void): () => void {
  client.addEventListener("state", changed);
  return () => client.removeEventListener("state", changed);
}

/** The state of the connection. */
export function useConnection(): ConnectionState {
  return useSyncExternalStore(onState, () => client.state);
}

/** The symbols of the gateway; none until it has answered. */
export function useSymbols(): readonly string[] {
  const [symbols, setSymbols] = useState<readonly string[]>([]);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (symbols.length) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    fetchSymbols(stop.signal)
      .catch(() => [])
      .then((listed) => {
        if (stop.signal.aborted) return;
        if (listed.length) setSymbols(listed);
        else timer = setTimeout(() => setAttempt(attempt + 1), RETRY_MS);
      });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [symbols, attempt]);
  return symbols;
}

async function fetchSymbols(signal: AbortSignal): Promise<string[]> {
  const answer = await fetch("/v1/symbols", { signal });
  const listed = (await answer.json()) as { symbol: string }[];
  return listed.map(({ symbol }) => symbol);
}
