"""One broadcast that changed a view, and many of them as bytes."""

from array import array
from bisect import bisect_right
from struct import Struct
from typing import Final, NamedTuple

from depthcast.gateway.protocol.messages import Encoding, ViewDelta
from depthcast.shared.level_rows import packed_rows, unpacked_rows

_HEAD: Final = Struct("<qqqqQIIq")
"""Of a packed step: broadcast, prev_seq, seq, ts, digest, numbers of bids and asks, event_ts; then rows."""
_BROADCAST: Final = Struct("<q")
_STATE: Final = Struct("<qqqqQ")
_ROWS: Final = Struct("<II")
_ROWS_AT: Final = _STATE.size
_NO_TIME: Final = -1
"""Stands for no `event_ts`."""

_new_tuple = tuple.__new__
"""Makes a named tuple without the Python function call that its class would cost."""


class ViewState(NamedTuple):
    """A known state of a view: its `seq` and `digest` right after broadcast number `broadcast`."""

    broadcast: int
    seq: int
    digest: int


class Step:
    """One broadcast that changed the view; `frames` caches its bytes once they were needed."""

    __slots__ = ("_delta", "_packed", "broadcast", "frames", "rows")

    def __init__(self, broadcast: int, delta: ViewDelta) -> None:
        self.broadcast = broadcast
        self.rows = len(delta.bids) + len(delta.asks)
        self.frames: dict[Encoding, bytes] = {}
        self._delta: ViewDelta | None = delta
        self._packed = b""

    @property
    def delta(self) -> ViewDelta:
        """What it changed."""
        return _unpacked(self._packed) if self._delta is None else self._delta

    def state(self) -> ViewState:
        """The view right after this step."""
        delta = self.delta
        return ViewState(self.broadcast, delta.seq, delta.digest)

    def pack(self) -> bytes:
        """Keep the delta as bytes from now on, so that its objects are gone; returns these bytes."""
        if self._delta is not None:
            prev_seq, seq, ts, bids, asks, digest, event_ts = self._delta
            source_time = _NO_TIME if event_ts is None else event_ts
            sizes = len(bids), len(asks)
            head = _HEAD.pack(self.broadcast, prev_seq, seq, ts, digest, *sizes, source_time)
            self._packed = head + packed_rows(bids, asks)
            self._delta = None
        return self._packed


def _unpacked(packed: bytes) -> ViewDelta:
    """The delta of a packed step."""
    _, prev_seq, seq, ts, digest, bid_rows, _, source_time = _HEAD.unpack_from(packed)
    bids, asks = unpacked_rows(memoryview(packed)[_HEAD.size :], bid_rows)
    event_ts = None if source_time == _NO_TIME else source_time
    return ViewDelta(prev_seq, seq, ts, bids, asks, digest, event_ts)


class PackedSteps:
    """Consecutive steps without their frames, in one buffer, oldest first.

    As objects of their own, small pieces would lie between those of others, and keep whole pages after the
    channel has gone. `_starts`: where each step starts, in bytes since the first one ever; those before
    `_first` are gone.
    """

    __slots__ = ("_bytes", "_end", "_first", "_starts")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._starts = array("q")
        self._first = 0
        self._end = 0

    def __len__(self) -> int:
        return len(self._starts) - self._first

    def append(self, step: Step) -> None:
        """Add the newest step."""
        packed = step.pack()
        self._bytes += packed
        self._starts.append(self._end)
        self._end += len(packed)

    def pop_oldest(self) -> tuple[ViewState, int]:
        """Remove the oldest step; returns the state that it led to, and its number of rows."""
        state, start = self.state(0), self._offset(0)
        bids, asks = _ROWS.unpack_from(self._bytes, start + _ROWS_AT)
        del self._bytes[: self._offset(1)]
        self._first += 1
        if self._first > len(self):
            del self._starts[: self._first]
            self._first = 0
        return state, bids + asks

    def state(self, index: int) -> ViewState:
        """The view right after a step."""
        broadcast, _, seq, _, digest = _STATE.unpack_from(self._bytes, self._offset(index))
        return _new_tuple(ViewState, (broadcast, seq, digest))

    def rows(self, index: int) -> int:
        """How many rows a step has."""
        bids, asks = _ROWS.unpack_from(self._bytes, self._offset(index) + _ROWS_AT)
        total: int = bids + asks
        return total

    def broadcast(self, index: int) -> int:
        """Number of the broadcast of a step."""
        number: int = _BROADCAST.unpack_from(self._bytes, self._offset(index))[0]
        return number

    def count_up_to_seq(self, seq: int) -> int:
        """How many steps lead to a seq up to `seq`."""
        return bisect_right(range(len(self)), seq, key=lambda index: self.state(index).seq)

    def count_up_to(self, broadcast: int) -> int:
        """How many steps have a number up to `broadcast`."""
        return bisect_right(range(len(self)), broadcast, key=self.broadcast)

    def since(self, index: int) -> list[Step]:
        """The steps from `index` on."""
        return [self._unpacked(each) for each in range(index, len(self))]

    def _offset(self, index: int) -> int:
        at = self._first + index
        end = self._starts[at] if at < len(self._starts) else self._end
        return end - self._starts[self._first]

    def _unpacked(self, index: int) -> Step:
        delta = _unpacked(bytes(self._bytes[self._offset(index) : self._offset(index + 1)]))
        return Step(self.broadcast(index), delta)
