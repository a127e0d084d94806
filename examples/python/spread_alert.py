"""Says when the spread of a symbol gets wider than a limit, and when it is narrow again.

Run it until Ctrl-C:

    python spread_alert.py http://127.0.0.1:8080 --limit-bps 5 BTC-USD ETH-USD
"""

import argparse
import asyncio
from decimal import Decimal

from depthcast import Book, BookUpdate, State, connect


def spread_bps(book: Book) -> Decimal | None:
    """Return the spread in hundredths of a percent of the mid price; None while a side is empty."""
    bids, asks = book.prices(1)
    if not bids or not asks:
        return None
    bid, ask = bids[0][0], asks[0][0]
    mid = (bid + ask) / 2
    return (ask - bid) / mid * 10_000 if mid > 0 else None


class SpreadAlert:
    """Takes updates, and prints a line whenever what it has to say of a symbol changes."""

    def __init__(self, limit_bps: Decimal) -> None:
        self.limit_bps = limit_bps
        self._said: dict[str, str] = {}

    def __call__(self, update: BookUpdate) -> None:
        """Judge one update. A book that is not live proves nothing, so that is said instead."""
        spread = spread_bps(update.book)
        if update.state is not State.LIVE:
            now = str(update.state)
        elif spread is None:
            now = "one side is empty"
        else:
            now = "wide" if spread > self.limit_bps else "narrow"
        if self._said.get(update.symbol) != now:
            self._said[update.symbol] = now
            number = "" if spread is None else f", spread {spread:.2f} bps"
            print(f"{update.symbol}: {now}{number}", flush=True)  # noqa: T201


async def main(url: str, symbols: list[str], limit_bps: Decimal) -> None:
    """Watch until Ctrl-C."""
    async with connect(url) as client:
        await client.subscribe(symbols, depth=1)
        await client.run(SpreadAlert(limit_bps))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Say when a spread gets wider than a limit.")
    parser.add_argument("url", help="address of a gateway, such as http://127.0.0.1:8080")
    parser.add_argument("symbols", nargs="+", metavar="SYMBOL")
    parser.add_argument("--limit-bps", type=Decimal, default=Decimal(5), help="hundredths of a percent")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.url, chosen.symbols, chosen.limit_bps))
