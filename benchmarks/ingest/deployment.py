"""A Redis and an ingestor as shipped, each on cores of its own, and a producer for them."""

import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import hiredis
import redis

from benchmarks.fanout.programs import Program, module_of
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import INFO_FIELD, decode_info
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.types import EntryInfo

ADMIN_PATTERN: Final = r"admin listening on http://127\.0\.0\.1:(\d+)"
XADDS_PER_TRIP: Final = 500
POLL_S: Final = 0.002
WAIT_S: Final = 120.0

Checker = Callable[[Position, EntryInfo], bool]


class Deployment:
    """One ingestor with one partition of `instruments` (the text of its file), not running yet."""

    def __init__(self, server: EmbeddedServer, prefix: str, instruments: str, folder: Path) -> None:
        self.server = server
        self.prefix = prefix
        self.keys = DeploymentKeys(prefix).partition(0)
        self.client = redis.Redis(port=server.port)
        self._file = folder / f"{prefix}.toml"
        self._file.write_text(instruments, encoding="utf-8")

    def ingestor(self, *, measured: bool = True, python: str | None = None, **settings: object) -> Program:
        """An ingestor process, to be used with `with`; with a core of its own if it is `measured` alone.

        `python`: that of another version.
        """
        common = {
            "redis_url": self.server.url,
            "prefix": self.prefix,
            "instruments": self._file,
            "admin_port": 0,
            "log_level": "warning",
        }
        command = module_of(python, "ingestor", **common, **settings)
        return Program("ingestor", command, ADMIN_PATTERN, measured=measured)

    def send(self, entries: Sequence[dict[bytes, bytes]]) -> Position:
        """Append input entries; returns the ID of the last."""
        last = b"0-0"
        for start in range(0, len(entries), XADDS_PER_TRIP):
            pipeline = self.client.pipeline(transaction=False)
            for fields in entries[start : start + XADDS_PER_TRIP]:
                pipeline.xadd(self.keys.events, dict(fields.items()))
            last = pipeline.execute()[-1]
        return Position.parse(last)

    def packed(self, entries: Sequence[dict[bytes, bytes]]) -> list[bytes]:
        """Input entries as bytes, one for each trip of `send_packed`."""
        commands = [
            _packed("XADD", self.keys.events, "*", *chain.from_iterable(fields.items())) for fields in entries
        ]
        return [
            b"".join(commands[start : start + XADDS_PER_TRIP])
            for start in range(0, len(commands), XADDS_PER_TRIP)
        ]

    def send_packed(self, trips: Sequence[bytes]) -> Position:
        """Append input entries that are packed already; returns the ID of the last."""
        reply = b""
        with socket.create_connection(("127.0.0.1", self.server.port)) as sender:
            for trip in trips:
                sender.sendall(trip)
                count, replies = trip.count(b"$4\r\nXADD\r\n"), b""
                while replies.count(b"\r\n") < 2 * count:
                    replies += sender.recv(1 << 20)
                reply = replies.split(b"\r\n")[-2]
        return Position.parse(reply)

    def newest(self) -> tuple[Position, EntryInfo] | None:
        """The last entry that was published: its position, and what it says."""
        found: Any = self.client.xrevrange(self.keys.deltas, count=1)
        return (Position.parse(found[0][0]), decode_info(found[0][1][INFO_FIELD])) if found else None

    def wait_for_epoch_after(self, epoch: int) -> EntryInfo:
        """Wait until a leadership that is newer than `epoch` has published more than its seal."""
        return self._wait(lambda position, _: position.epoch > epoch and position.n > 0)

    def wait_until_published(self, upto: Position) -> EntryInfo:
        """Wait until input up to `upto` was consumed and its result published."""
        return self._wait(lambda _, info: Position.parse(info.src) >= upto)

    def _wait(self, good: Checker) -> EntryInfo:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            newest = self.newest()
            if newest is not None and good(*newest):
                return newest[1]
            time.sleep(POLL_S)
        raise TimeoutError(f"the ingestor published nothing like it in {WAIT_S:g} s")


def _packed(*words: str | bytes) -> bytes:
    packed: bytes = hiredis.pack_command(cast("Any", words))
    return packed


@contextmanager
def deployments(server: EmbeddedServer, instruments: dict[str, str]) -> Iterator[dict[str, Deployment]]:
    """A deployment for each prefix."""
    with tempfile.TemporaryDirectory(prefix="depthcast-bench-") as folder:
        found = {name: Deployment(server, name, text, Path(folder)) for name, text in instruments.items()}
        yield found
        for deployment in found.values():
            deployment.client.close()
