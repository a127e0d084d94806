"""The keys of the in-memory store: values by type, expiry, copies as a replica would hold them."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tests.simulation.replies import ReplyError
from tests.simulation.streams import Fields, Id, Stream

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Hash(dict[bytes, bytes]):
    """Fields with their values."""


class SortedSet(dict[bytes, float]):
    """Members with their scores."""

    def ordered(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.items())


class Observer(Protocol):
    """Observes every command; those of a script one by one, before the script's `after`."""

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command is about to be executed."""

    def after(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command was executed."""


class Data(ABC):
    """One server's data.

    - `clock_us`: the server's wall clock, µs since 1970.
    - `appended` is called for each stream entry ever added; `observer`, if there is one, sees every command.
    - `grown`: keys of streams that got entries since it was last cleared.
    - `denied`: names of commands that the access list denies.
    - `script_wrote`: whether the script that runs has written; None while none runs.
    - `writes`: how many commands wrote each key.
    - `replid`: names the history that a replica can go on with. `replication`: what it says of replicas.
    """

    def __init__(
        self,
        clock_us: Callable[[], int],
        *,
        node_entries: int = 100,
        appended: Callable[[bytes, Id, Fields], None] = lambda *_: None,
    ) -> None:
        self.clock_us = clock_us
        self.node_entries = node_entries
        self.appended = appended
        self.observer: Observer | None = None
        self.run_id = self.replid = b"0" * 40
        self.replication = b"role:master\r\n"
        self.memory_full = False
        self.denied: set[bytes] = set()
        self.values: dict[bytes, Any] = {}
        self.expiries: dict[bytes, int] = {}
        self.scripts: dict[bytes, bytes] = {}
        self.grown: dict[bytes, None] = {}
        self.script_wrote: bool | None = None
        self.writes: Counter[bytes] = Counter()
        self.memory_was_full = False

    @abstractmethod
    def execute(self, *arguments: bytes) -> Any:
        """One command at one moment; raises `ReplyError`."""

    @abstractmethod
    def allows(self, name: bytes) -> bool:
        """Whether the access list allows a command."""

    @property
    def now_ms(self) -> int:
        return self.clock_us() // 1000

    def find(self, key: bytes, kind: type) -> Any:
        """The value at `key`, None when absent; raises `ReplyError` if it is of another type."""
        if key in self.expiries and self.expiries[key] <= self.now_ms:
            self.drop(key)
        value = self.values.get(key)
        if value is not None and not isinstance(value, kind):
            raise ReplyError(WRONG_TYPE)
        return value

    def stream(self, key: bytes) -> Stream | None:
        """The stream at `key`, None when absent."""
        found: Stream | None = self.find(key, Stream)
        return found

    def make_stream(self, key: bytes) -> Stream:
        """A new, empty stream at `key`."""
        made = Stream(self.node_entries)
        self.values[key] = made
        return made

    def drop(self, key: bytes) -> bool:
        """Delete a key; returns whether it existed."""
        self.expiries.pop(key, None)
        return self.values.pop(key, None) is not None

    def clear(self) -> None:
        """Delete every key."""
        self.values.clear()
        self.expiries.clear()

    def copy_data(self) -> tuple[dict[bytes, Any], dict[bytes, int]]:
        """Copy all keys, as a replica would hold them."""
        return {key: copied(value) for key, value in self.values.items()}, dict(self.expiries)

    def take_data(self, data: tuple[dict[bytes, Any], dict[bytes, int]]) -> None:
        """Replace all keys by these."""
        self.values, self.expiries = data


def copied(value: Any) -> Any:
    """An independent copy of the value of a key."""
    if isinstance(value, bytes):
        return value
    return value.copy() if isinstance(value, Stream) else type(value)(value)
