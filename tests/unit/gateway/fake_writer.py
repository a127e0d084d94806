"""A connection's sending half in memory; `test_writer_contract.py` compares it with the real one."""

from collections.abc import Callable


class FakeWriter:
    """Takes everything at once while the client `reads`; keeps it otherwise, until `drain`.

    Even then there is room for `room_bytes` at a time while nothing waits. As with the real one, `on_full` is
    called when anything begins to wait, and `on_drained` when nothing does any more.
    """

    def __init__(self, mark_bytes: int, *, reads: bool) -> None:
        self.mark_bytes = mark_bytes
        self.reads = reads
        self.room_bytes = 0
        self.taken = bytearray()
        self.waiting = bytearray()
        self.on_full: Callable[[], None] = lambda: None
        self.on_drained: Callable[[], None] = lambda: None
        self.writes = 0
        self.most_waiting = 0

    @property
    def paused(self) -> bool:
        return len(self.waiting) > self.mark_bytes

    @property
    def clear(self) -> bool:
        return not self.waiting

    def direct(self) -> Callable[[bytes], int]:
        return self._send

    def _send(self, data: bytes) -> int:
        assert self.clear, "nothing may overtake what is waiting"
        room = self._room_for(data)
        if data and not room:
            raise BlockingIOError
        self.writes += 1
        self.taken += data[:room]
        return room

    def write(self, data: bytes) -> None:
        self.writes += 1
        began = not self.waiting
        room = self._room_for(data) if began else 0
        self.taken += data[:room]
        if room == len(data):
            return
        self.waiting += data[room:]
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        if began:
            self.on_full()

    def _room_for(self, data: bytes) -> int:
        return len(data) if self.reads else min(len(data), self.room_bytes)

    def buffered(self) -> int:
        return len(self.waiting)

    def drain(self, count: int) -> None:
        """The client reads up to `count` waiting bytes."""
        if not self.waiting:
            return
        self.taken += self.waiting[:count]
        del self.waiting[:count]
        if not self.waiting:
            self.on_drained()
