"""Records the changes of books into Parquet files, in prices and quantities; goes on where it ended.

    pip install 'depthcast[record]'
    python parquet_recorder.py redis://127.0.0.1:6379/0 books BTC-USD ETH-USD

A file and the position behind it appear in one step, because the position is in the file. So a recorder that
is killed writes no change twice. `depthcast record` does more: whole books, sizes, doubt and digests.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from depthcast import BookUpdate, Consumer, Kind

NUMBER = pyarrow.decimal128(38, 18)
SCHEMA = pyarrow.schema(
    {
        "ts": pyarrow.timestamp("us", "UTC"),
        "symbol": pyarrow.string(),
        "seq": pyarrow.int64(),
        "kind": pyarrow.string(),
        "side": pyarrow.string(),
        "price": NUMBER,
        "quantity": NUMBER,
    }
)
POSITION = b"position"


def rows_of(update: BookUpdate) -> list[dict[str, Any]]:
    """Return a row for each level: of a snapshot all, of a delta those that changed (quantity 0: gone)."""
    levels = update.changes() if update.kind is Kind.DELTA else update.book.prices()
    head = {"ts": update.ts, "symbol": update.symbol, "seq": update.seq, "kind": str(update.kind)}
    return [
        {**head, "side": side, "price": price, "quantity": quantity}
        for side, each in (("bid", levels.bids), ("ask", levels.asks))
        for price, quantity in each
    ]


class Folder:
    """Numbered Parquet files, each with the position behind its last row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """Return all files, oldest first."""
        return sorted(self.path.glob("*.parquet"))

    def position(self) -> str | None:
        """Return the position of the newest file; None if there is no file."""
        files = self.files()
        if not files:
            return None
        stored: bytes = pyarrow.parquet.read_schema(files[-1]).metadata[POSITION]
        return stored.decode()

    def write(self, rows: list[dict[str, Any]], position: str) -> None:
        """Write a file, which is there only once it is whole."""
        table = pyarrow.Table.from_pylist(rows, schema=SCHEMA.with_metadata({POSITION: position}))
        path = self.path / f"{len(self.files()):08}.parquet"
        unfinished = path.with_suffix(".unfinished")
        pyarrow.parquet.write_table(table, unfinished)
        unfinished.rename(path)


async def main(
    redis_url: str, folder: Path, symbols: list[str] | None, file_rows: int, prefix: str = "depthcast"
) -> None:
    """Record until cancelled. What a killed recorder had in no file yet, the next one reads again."""
    files = Folder(folder)
    rows: list[dict[str, Any]] = []
    async with Consumer(redis_url, symbols, prefix=prefix, since=files.position()) as consumer:
        reached = dict(consumer.position)

        def write() -> None:
            # After a gap the position waits for what is missing: rows written now would come again later.
            if rows and consumer.position == reached:
                files.write(rows, str(consumer.position))
                rows.clear()

        try:
            async for entry in consumer.entries():
                reached[entry.partition] = entry.position
                for update in entry.updates:
                    rows += rows_of(update)
                if len(rows) >= file_rows:
                    write()
        except asyncio.CancelledError:
            write()
            raise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Record the changes of books into Parquet files.")
    parser.add_argument("redis_url", help="such as redis://127.0.0.1:6379/0")
    parser.add_argument("folder", type=Path)
    parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="default: all")
    parser.add_argument("--file-rows", type=int, default=100_000)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.redis_url, chosen.folder, chosen.symbols or None, chosen.file_rows))
