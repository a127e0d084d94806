"""What one input entry may cost: `python -m tests.attack.poison`, exit status 1 if one costs too much.

Each pill is an entry that decodes to far more than its size, or that is rejected a million times. A fresh
ingestor process on a real server takes one; meanwhile its resident memory and the time between two entries of
`deltas` are measured. Then good input must apply.
"""

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgpack

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import connect, execute, last_position
from tests.ingestor_runs import Process, Run

MEMORY_FACTOR: Final = 28
"""An entry may cost this many times its size, and `MEMORY_FLOOR` more: nine bytes may be a level."""

MEMORY_FLOOR: Final = 48 << 20
SILENCE_S: Final = 2.0
"""Entries of `deltas` come at least every 0.75 s. With them, readers call a book stale after 5 s."""

STORED_S: Final = 6.5
"""In this time, snapshots and checkpoints are written."""

Fields = list[tuple[str | bytes, bytes]]


def _many(size: int, event: bytes, header: int = 5) -> bytes:
    count = (size - header) // len(event)
    return b"\xdd" + count.to_bytes(4, "big") + event * count


def _json(size: int, event: bytes) -> bytes:
    return b"[" + event + (b"," + event) * (size // (len(event) + 1) - 1) + b"]"


def _tree(size: int) -> bytes:
    """Arrays of 15 arrays, six deep."""
    inner = b"\x90"
    for _ in range(3):
        inner = b"\x9f" + inner * 15
    return _many(size, inner)


def _levels(side: bytes, count: int) -> bytes:
    """Levels of the fewest bytes that do not cross, best first."""
    worst = 1 << 31
    prices = range(worst, worst - count, -1) if side == b"\x00" else range(worst + 1, worst + 1 + count)
    head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(
        b"\x94\x01" + side + b"\xce" + price.to_bytes(4, "big") + b"\x01" for price in prices
    )


PILLS: Final[dict[str, Callable[[int], Fields]]] = {
    "nulls": lambda size: [("LEV", _many(size, b"\xc0"))],
    "empty arrays": lambda size: [("LEV", _many(size, b"\x90"))],
    "empty maps": lambda size: [("LEV", _many(size, b"\x80"))],
    "small maps": lambda size: [("LEV", _many(size, b"\x81\x01\x01"))],
    "nested arrays": lambda size: [("LEV", _tree(size))],
    "one deep array": lambda size: [("LEV", b"\x91" * (size - 1) + b"\xc0")],
    "one array of nulls in an event": lambda size: [("LEV", b"\x91" + _many(size, b"\xc0"))],
    "one huge string": lambda size: [("LEV", b"\x91\xdb" + size.to_bytes(4, "big") + b"x" * size)],
    "short strings": lambda size: [("LEV", _many(size, b"\xa2xy"))],
    "64-bit integers": lambda size: [("LEV", _many(size, b"\xcf" + b"\xff" * 8))],
    "bad events": lambda size: [("LEV", _many(size, b"\x94\x01\x00\x01\xc0"))],
    "new levels": lambda size: [
        ("LEV", msgpack.packb([[1, 0, price << 20, 1] for price in range(size // 14)]))
    ],
    "most new levels": lambda size: [
        ("LEV", _levels(side, min(size // 18, 900_000))) for side in (b"\x00", b"\x01")
    ],
    "new orders": lambda size: [
        ("ORD", msgpack.packb([[0, 0, price << 20, 1, price] for price in range(size // 17)]))
    ],
    "an atomic array that crosses": lambda size: [
        ("_", b'{"atomic":true}'),
        (
            "LEV",
            msgpack.packb([[1, 0, price << 20, 1] for price in range(size // 14)] + [[1, 1, 1 << 20, 1]]),
        ),
    ],
    "an atomic array for nobody": lambda size: [
        ("_", b'{"atomic":true}'),
        ("NOBODY", _many(size, b"\xc0")),
    ],
    "events for nobody": lambda size: [("NOBODY", _many(size, b"\x94\x01\x00\x01\x01"))],
    "JSON nulls": lambda size: [("LEV", _json(size, b"null"))],
    "JSON digits": lambda size: [("LEV", _json(size, b"7"))],
    "JSON empty arrays": lambda size: [("LEV", _json(size, b"[]"))],
    "JSON maps": lambda size: [("LEV", _json(size, b'{"a":1}'))],
    "JSON one huge integer": lambda size: [("LEV", b"[[0,0," + b"9" * size + b",1]]")],
    "JSON long integers": lambda size: [("LEV", _json(size, b"[0,0," + b"9" * 4_000 + b",1]"))],
    "JSON one huge string": lambda size: [("LEV", b'["' + b"x" * size + b'"]')],
    "JSON depth": lambda size: [("LEV", b"[" * (size // 2) + b"]" * (size // 2))],
    "JSON towers": lambda size: [("LEV", _json(size, b"[" * 63 + b"]" * 63))],
    "JSON blanks": lambda size: [("LEV", b"[" + b" " * size + b"]")],
    "many fields of one symbol": lambda size: [("LEV", b"\x91\xc0")] * (size // 5),
    "many symbols": lambda size: [(f"S{number}", b"\x91\xc0") for number in range(size // 9)],
    "undecodable fields": lambda size: [("LEV", b"\xc1")] * (size // 4),
    "large options": lambda size: [
        ("_", b"\xdf" + (size // 3).to_bytes(4, "big") + b"\x81\x01\x01" * (size // 3))
    ],
    "rejected text": lambda size: [("LEV", _many(size, b"\xda\x03\xe8" + b"x" * 1000))],
}


class Cost(NamedTuple):
    """What one pill did: bytes of it and of memory, the longest silence, rejected events, reject entries."""

    size: int
    memory: int
    silence_s: float
    rejected: int
    records: int
    restarts: int


def _resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0]) << 10


async def _watch(run: Run, process: Process, seen: list[tuple[float, int]], stop: asyncio.Event) -> None:
    """Record the highest memory, and when entries of `deltas` came."""
    after = await last_position(run.client, run.keys.deltas)
    came = time.monotonic()
    while not stop.is_set():
        # Only what is new: to read a huge entry again and again would keep the server busy.
        reply = await execute(run.client, "XRANGE", run.keys.deltas, f"({after}", "+", "COUNT", 1)
        now = time.monotonic()
        silence_s = now - came
        if reply:
            after, came = Position.parse(reply[0][0]), now
        try:
            memory = _resident(process.child.pid)
        except (OSError, IndexError):
            memory = 0
        seen.append((silence_s, memory))
        await asyncio.sleep(0.005)


async def _start(process: Process, limit_bytes: int | None) -> None:
    await process.start()
    if limit_bytes is not None:
        resource.prlimit(process.child.pid, resource.RLIMIT_AS, (limit_bytes, limit_bytes))


async def _swallow(url: str, fields: Fields, folder: Path, limit_bytes: int | None) -> Cost:
    client = connect(url, timeout_s=60.0)
    run = Run(client, "pill", url, folder)
    await execute(client, "FLUSHALL")
    process = Process(run.settings(interval_ms=50, lease_ms=1000), folder)
    restarts = 0
    await _start(process, limit_bytes)
    try:
        await process.leads(60.0)
        await run.published(await run.send(("LEV", '[["add","bid",1,1]]')))
        base = _resident(process.child.pid)
        seen: list[tuple[float, int]] = []
        stop = asyncio.Event()
        watching = asyncio.create_task(_watch(run, process, seen, stop))
        flat = [part for field in fields for part in field]
        await execute(client, "XADD", run.keys.events, "*", *flat)
        good = await run.send(("LEV", '[["add","ask",9223372036854,1]]'))
        async with asyncio.timeout(120):
            while True:
                if process.child.returncode is not None:
                    restarts += 1
                    await _start(process, limit_bytes)
                info = await run.info()
                if info is not None and Position.parse(info.src) >= good:
                    break
                await asyncio.sleep(0.05)
        await asyncio.sleep(STORED_S)
        stop.set()
        await watching
        size = sum(len(part) for part in flat)
        records = int(await execute(client, "XLEN", run.keys.rejects))
        memory = max(resident for _, resident in seen) - base
        return Cost(size, memory, max(silence for silence, _ in seen), info.rejected, records, restarts)
    finally:
        if process.child.returncode is None:
            await process.kill()
        await client.aclose()


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Only pills with this in their name.")
@click.option("--size", "sizes", multiple=True, type=int, metavar="BYTES", help="Instead of 1 and 12 MB.")
@click.option("--limit-mb", type=int, help="Address space of the ingestor, in MiB.")
def main(only: tuple[str, ...], sizes: tuple[int, ...], limit_mb: int | None) -> None:
    """Give an ingestor one entry of each kind, and say what it cost."""
    limit_bytes = None if limit_mb is None else limit_mb << 20
    click.echo(f"{'pill':<32}{'size':>10}{'memory':>12}{'silence':>10}{'rejected':>12}{'records':>9}")
    bad = 0
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        for name, make in PILLS.items():
            if only and not any(part in name for part in only):
                continue
            for size in sizes or (1_000_000, 12_000_000):
                try:
                    cost = asyncio.run(_swallow(server.url, make(size), Path(folder), limit_bytes))
                except TimeoutError:
                    click.echo(f"{name:<32}{size / 1e6:>7.1f} MB  the partition stands still")
                    bad += 1
                    continue
                wrong = (
                    cost.memory > MEMORY_FACTOR * cost.size + MEMORY_FLOOR
                    or cost.silence_s > SILENCE_S
                    or cost.restarts > 0
                )
                bad += wrong
                click.echo(
                    f"{name:<32}{cost.size / 1e6:>7.1f} MB{cost.memory / 1e6:>9.0f} MB"
                    f"{cost.silence_s:>8.2f} s{cost.rejected:>12,}{cost.records:>9,}"
                    + (f"  died {cost.restarts} times" if cost.restarts else "")
                    + ("  TOO MUCH" if wrong else "")
                )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
