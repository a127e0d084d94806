import { decimal, type Level, type Top } from "depthcast";
import { memo } from "react";

import { client, useBook } from "./books";

interface RowProps {
  level: Level;
  tickSize: string;
  lotSize: string;
}

/** One level. A level that did not change is the same object as before, so React leaves its row alone. */
const Row = memo(function Row({ level: [price, quantity], tickSize, lotSize }: RowProps) {
  return (
    <tr>
      <td>{decimal(price, tickSize)}</td>
      <td>{decimal(quantity, lotSize)}</td>
    </tr>
  );
});

/** The best levels of a symbol: asks above bids. */
export function Ladder({ symbol, depth }: { symbol: string; depth: number }) {
  const book = useBook(client, symbol, { depth });
  const rows = (levels: readonly Level[]) =>
    levels.map((level) => <Row key={level[0]} level={level} tickSize={book.tickSize} lotSize={book.lotSize} />);
  return (
    <table className={book.state}>
      <caption>{captionOf(book)}</caption>
      <thead>
        <tr>
          <th scope="col">price</th>
          <th scope="col">quantity</th>
        </tr>
      </thead>
      <tbody className="asks">{rows([...book.asks].reverse())}</tbody>
      <tbody className="bids">{rows(book.bids)}</tbody>
    </table>
  );
}

/** The state of a book in words: one that may be old must not look like one that is current. */
function captionOf({ symbol, state, staleReason, bids, asks }: Top): string {
  const empty = bids.length + asks.length === 0;
  if (state === "removed") return `${symbol}: withdrawn`;
  if (state === "live") return empty ? `${symbol}: live, the book is empty` : `${symbol}: live`;
  if (empty) return `${symbol}: waiting for the book`;
  return staleReason ? `${symbol}: may be old (${staleReason})` : `${symbol}: may be old`;
}
