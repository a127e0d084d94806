"""A snapshot in parts: messages with some of its levels each, made once for all clients that get them.

A client may take long to read them all, and the view moves meanwhile. So the parts of a snapshot stay until
no client needs them any more. `PartsBound` bounds how much that may be.
"""

from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from depthcast.gateway.counters import GatewayCounters


class SnapshotParts:
    """The parts of one snapshot, as complete frames.

    `size_bytes`: of all of them, before compression. `dropped`: they were given up, so a client that has not
    had the last one needs another snapshot. `shorten` compresses a frame when it is first asked for, so that
    no tick compresses a whole book.
    """

    __slots__ = ("__weakref__", "_count", "_frames", "_shorten", "_shortened", "dropped", "size_bytes")

    def __init__(self, frames: Sequence[bytes], shorten: Callable[[bytes], bytes] | None = None) -> None:
        self._frames = frames
        self._shorten = shorten
        self._shortened: dict[int, bytes] = {}
        self._count = len(frames)
        self.size_bytes = sum(map(len, frames))
        self.dropped = False

    def __len__(self) -> int:
        return self._count

    def shortened(self, shorten: Callable[[bytes], bytes]) -> "SnapshotParts":
        """The same parts, each compressed by `shorten`."""
        return SnapshotParts(self._frames, shorten)

    def frame(self, index: int) -> bytes:
        """One part, counted from 0; call only while they are not dropped."""
        if self._shorten is None:
            return self._frames[index]
        found = self._shortened.get(index)
        if found is None:
            found = self._shortened[index] = self._shorten(self._frames[index])
        return found

    def joined(self) -> bytes:
        """All parts, one behind the other."""
        return b"".join([self.frame(index) for index in range(self._count)])

    def drop(self) -> None:
        """Give the frames up."""
        self.dropped = True
        self._frames = ()
        self._shortened.clear()


class PartsBound:
    """Bounds the snapshots in parts of a worker.

    - `levels_max`: levels of a part, both sides together; a snapshot of more comes in parts.
    - `bytes_max`: of all snapshots in parts that anybody still needs; the newest is kept whatever its size.
    """

    __slots__ = ("_counters", "_kept", "_number", "bytes_max", "levels_max")

    def __init__(self, levels_max: int, bytes_max: int, counters: GatewayCounters) -> None:
        self.levels_max = levels_max
        self.bytes_max = bytes_max
        self._counters = counters
        self._kept: WeakValueDictionary[int, SnapshotParts] = WeakValueDictionary()
        self._number = 0

    def add(self, parts: SnapshotParts) -> None:
        """Count one more; the oldest are dropped where all would exceed `bytes_max`."""
        self._number += 1
        self._kept[self._number] = parts
        kept = list(self._kept.items())
        total = sum(each.size_bytes for _, each in kept)
        for number, each in kept[:-1]:
            if total <= self.bytes_max:
                return
            total -= each.size_bytes
            each.drop()
            del self._kept[number]
            self._counters.limit_parts_bytes += 1
