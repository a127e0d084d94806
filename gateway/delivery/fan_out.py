"""Hands the bytes of a flush to the kernel: the loop in which a gateway spends most of its time.

A `Batch` collects the sends of all cohorts that are flushed together. `DirectBatch` sends each at once, in
Python. The runtime has another in C, which hands over many at a time
(`depthcast.gateway.runtime.submission`), and behaves the same.
"""

from typing import Any, NamedTuple, Protocol

from depthcast.gateway.delivery.writer import Send


class Unsent(NamedTuple):
    """A send of a batch that took only `sent` bytes of `data`; `owner` and `key` as they were added."""

    owner: Any
    key: Any
    data: bytes
    sent: int


class Batch(Protocol):
    """The sends of one flush.

    After a send has taken less than everything, nothing more goes through it before `finish`, so that nothing
    overtakes the rest. Between `add` and `finish`, nothing else may be written to the clients.
    """

    def add(self, owner: Any, sends: dict[Any, Send], parts: list[bytes]) -> int:
        """Send the joined parts through every value of `sends`, now or later; returns their size."""
        ...

    def finish(self) -> list[Unsent]:
        """Have everything sent; returns what took less, in the order in which it was added."""
        ...


class DirectBatch:
    """Sends everything at once."""

    __slots__ = ("_blocked", "_unsent")

    def __init__(self) -> None:
        self._unsent: list[Unsent] = []
        self._blocked: set[Send] = set()

    def add(self, owner: Any, sends: dict[Any, Send], parts: list[bytes]) -> int:
        """As in `Batch`."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        size = len(data)
        for key, send in sends.items():
            sent = 0
            if not self._blocked or send not in self._blocked:
                try:
                    sent = send(data)
                except OSError:
                    sent = 0
            if sent != size:
                self._blocked.add(send)
                self._unsent.append(Unsent(owner, key, data, sent))
        return size

    def finish(self) -> list[Unsent]:
        """As in `Batch`."""
        unsent = self._unsent
        if unsent:
            self._unsent, self._blocked = [], set()
        return unsent
