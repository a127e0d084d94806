"""Ticks as the bytes that trigger them: commands for Redis, or messages for a peer's control port.

The file format is that of `benchmarks/native/drain.c`; the format of the control port is that of
`benchmarks/native/limit.c`.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.fanout.market import Market, Tick
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position

STREAM_MAX: Final = 2_000
"""Entries kept in the deltas stream, about."""
TS_KEY: Final = b"\xa2ts\xcf"
"""How `ts` begins in a msgpack map: its key, and the mark of a 64-bit integer."""

Lists = Sequence[Sequence[int]]
"""Numbers of the symbols that each client has subscribed to."""


def entries_as_commands(keys: DeploymentKeys, tick: Tick) -> tuple[bytes, list[int]]:
    """The commands that append a tick's entries, and where in them time stamps are."""
    parts: list[bytes] = []
    places = []
    size = 0
    for number, (position, fields) in tick.entries.items():
        command = _append(keys.partition(number).deltas, position, fields)
        places.append(size + command.index(TS_KEY) + len(TS_KEY))
        parts.append(command)
        size += len(command)
    return b"".join(parts), places


def messages_as_control(numbers: Mapping[str, int], tick: Tick) -> tuple[bytes, list[int]]:
    """A tick's messages for the control port of a peer."""
    parts = [struct.pack("<I", len(tick.messages))]
    for symbol, message in tick.messages.items():
        parts += [struct.pack("<II", numbers[symbol], len(message)), message]
    body = b"".join(parts)
    return struct.pack("<I", len(body)) + body, []


def expected(numbers: Mapping[str, int], tick: Tick, readers: Mapping[int, int]) -> int:
    """Frames that a tick brings to all clients; `readers`: clients by number of the symbol."""
    return sum(readers.get(numbers[symbol], 0) for symbol in _symbols(tick))


def readers_of(lists: Iterable[Sequence[int]]) -> dict[int, int]:
    """How many clients read each symbol."""
    readers: dict[int, int] = {}
    for channels in lists:
        for channel in channels:
            readers[channel] = readers.get(channel, 0) + 1
    return readers


def write_ticks(
    path: Path,
    market: Market,
    ticks: Iterable[Tick],
    lists: Lists,
    encode: Callable[[Tick], tuple[bytes, list[int]]],
) -> None:
    """Write a file of ticks for clients with these lists."""
    readers = readers_of(lists)
    numbers = {symbol: number for number, symbol in enumerate(market.symbols)}
    with path.open("wb") as file:
        for tick in ticks:
            data, places = encode(tick)
            file.write(struct.pack("<III", len(data), expected(numbers, tick, readers), len(places)))
            file.write(struct.pack(f"<{len(places)}I", *places))
            file.write(data)


def write_commands(path: Path, ticks: Iterable[tuple[Sequence[Sequence[bytes]], int]]) -> None:
    """Write a file of ticks that are commands of Redis; with each, how many frames it brings to clients."""
    with path.open("wb") as file:
        for commands, frames in ticks:
            data = b"".join(map(_command, commands))
            file.write(struct.pack("<III", len(data), frames, 0) + data)


def _symbols(tick: Tick) -> Iterable[str]:
    for _, fields in tick.entries.values():
        for name, _ in fields:
            if name != b"_":
                yield name.decode()


def _append(key: str, position: Position, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    words = [b"XADD", key.encode(), b"MAXLEN", b"~", b"%d" % STREAM_MAX, str(position).encode()]
    words += [word for field in fields for word in field]
    return _command(words)


def _command(words: Sequence[bytes]) -> bytes:
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])
