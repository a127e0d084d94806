"""Sends one update to the book of a symbol: python_producer.py SYMBOL SIDE PRICE QUANTITY.

Price and quantity are decimal text, such as 65000.10 and 0.005; they are converted by the symbol's sizes.
"""

import asyncio
import os
import sys

from depthcast import InvalidEvent, Producer


async def main(symbol: str, side: str, price: str, quantity: str) -> int:
    """Send the update, and say what became of it."""
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    async with Producer(url, prefix=os.environ.get("PREFIX", "depthcast")) as producer:
        try:
            receipt = await producer.send(symbol, [("update", side, price, quantity)], atomic=True)
        except InvalidEvent as error:
            sys.stderr.write(f"{error}\n")
            return 1
        sys.stdout.write(f"{await receipt}\n")
        await producer.consumed()
        for reason, count in producer.counters.rejected.items():
            sys.stderr.write(f"rejected as {reason}: {count}\n")
        return 1 if producer.counters.rejected else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:5])))
