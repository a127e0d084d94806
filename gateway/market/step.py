"""One broadcast that changed a view, and many of them as bytes."""

from array import array
from bisect import bisect_right
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple

from depthcast.gateway.protocol.messages import Encoding, Row, ViewDelta

_HEAD: Final = Struct("<qqqqQIIq")
"""Of a packed step: broadcast, prev_seq, seq, ts, digest, numbers of bids and asks, event_ts; then rows."""
_BROADCAST: Final = Struct("<q")
_STATE: Final = Struct("<qqqqQ")
_ROWS: Final = Struct("<II")
_ROWS_AT: Final = _STATE.size
_NO_TIME: Final = -1
"""Stands for no `event_ts`."""


class ViewState(NamedTuple):
    """A known state of a view: its `seq` and `digest` right after broadcast number `broadcast`."""

    broadcast: int
    seq: int
    digest: int


class Step:
    """One broadcast that changed the view; `frames` caches its bytes once they were needed."""

    __slots__ = ("broadcast", "delta", "frames", "rows")

    def __init__(self, broadcast: int, delta: ViewDelta) -> None:
        self.broadcast = broadcast
        self.delta = delta
        self.rows = len(delta.bids) + len(delta.asks)
        self.frames: dict[Encoding, bytes] = {}

    def state(self) -> ViewState:
        """The view right after this step."""
        return ViewState(self.broadcast, self.delta.seq, self.delta.digest)


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
        prev_seq, seq, ts, bids, asks, digest, event_ts = step.delta
        packed = self._bytes
        before = len(packed)
        source_time = _NO_TIME if event_ts is None else event_ts
        packed += _HEAD.pack(step.broadcast, prev_seq, seq, ts, digest, len(bids), len(asks), source_time)
        packed += array("q", chain.from_iterable(chain(bids, asks)))
        self._starts.append(self._end)
        self._end += len(packed) - before

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
        return ViewState(broadcast, seq, digest)

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
        start, end = self._offset(index), self._offset(index + 1)
        head = _HEAD.unpack_from(self._bytes, start)
        broadcast, prev_seq, seq, ts, digest, bids, asks, source_time = head
        numbers = array("q", self._bytes[start + _HEAD.size : end])
        items = len(numbers) // max(bids + asks, 1)  # of a row: 3, and 5 with the number of orders
        rows: list[Row] = list(zip(*[iter(numbers)] * items, strict=True))
        event_ts = None if source_time == _NO_TIME else source_time
        return Step(broadcast, ViewDelta(prev_seq, seq, ts, rows[:bids], rows[bids:], digest, event_ts))
