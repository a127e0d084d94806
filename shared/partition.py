"""Which partition a symbol belongs to (`docs/protocol.md`, section 1)."""

from zlib import crc32


def partition_of(symbol: str, partitions: int) -> int:
    """`crc32(symbol as UTF-8) mod partitions`, e.g. `BTC-USD` → 0 of 4, `ETH-USD` → 3 of 4."""
    return crc32(symbol.encode()) % partitions
