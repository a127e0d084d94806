"""What a deployment has to carry, and the machines it may use."""

from dataclasses import dataclass
from typing import Final

from depthcast.capacity.checks import Bounds, check
from depthcast.shared.errors import SettingsError

DEMAND_BOUNDS: Final = {
    "clients": Bounds(1, 1e10, whole=True),
    "symbols": Bounds(1, 1e7, whole=True),
    "subscriptions": Bounds(1, 5_000, whole=True),
    "broadcasts_per_s": Bounds(1e-4, 1_000),
    "popular_per_s": Bounds(0, 1_000),
    "events_per_broadcast": Bounds(0.1, 1e6),
    "events_per_entry": Bounds(1, 1e6),
    "levels_changed": Bounds(0.1, 1e6),
    "depth": Bounds(1, 1_000, whole=True),
    "book_levels": Bounds(1, 1e6, whole=True),
    "interval_ms": Bounds(1, 60_000),
    "popularity": Bounds(0, 3),
    "list_clients": Bounds(1, 1e6),
}
MACHINE_BOUNDS: Final = {
    "cores": Bounds(1, 1_024, whole=True),
    "network_gbit": Bounds(0.01, 1_000),
    "memory_gb": Bounds(0.5, 65_536),
    "share": Bounds(0.05, 0.7),
}
READERS: Final = ("worker", "machine")


@dataclass(frozen=True)
class Demand:
    """Clients, symbols and their rates; raises `SettingsError`.

    Args:
        clients: Connected at a time.
        symbols: Books there are.
        subscriptions: Symbols that each client reads.
        broadcasts_per_s: Broadcasts a second of a symbol, mean of all symbols.
        popular_per_s: The same of the symbols that clients read, weighted by their readers; 0: the mean.
        events_per_broadcast: Level events that a broadcast merges.
        events_per_entry: Level events of an input entry.
        levels_changed: Levels in a broadcast.
        depth: Depth of the subscriptions, in levels per side.
        book_levels: Levels of a book, per side.
        interval_ms: Broadcast interval.
        popularity: Exponent of Zipf's law by which clients choose symbols; 0: all are equal.
        list_clients: Clients of a worker that share a list of symbols, whose frames are joined once.
    """

    clients: int = 10_000
    symbols: int = 1_000
    subscriptions: int = 10
    broadcasts_per_s: float = 10.0
    popular_per_s: float = 0.0
    events_per_broadcast: float = 5.0
    events_per_entry: float = 5.0
    levels_changed: float = 4.0
    depth: int = 10
    book_levels: int = 100
    interval_ms: float = 50.0
    popularity: float = 1.0
    list_clients: float = 1.0

    def __post_init__(self) -> None:
        for name, bounds in DEMAND_BOUNDS.items():
            check(name, getattr(self, name), bounds)
        if self.subscriptions > self.symbols:
            raise SettingsError(
                "subscriptions", self.subscriptions, f"must be at most symbols, {self.symbols}"
            )
        for name in ("broadcasts_per_s", "popular_per_s"):
            if getattr(self, name) > self.most_per_s:
                raise SettingsError(
                    name,
                    getattr(self, name),
                    f"must be at most {self.most_per_s:g}, one in {self.interval_ms:g} ms",
                )

    @property
    def most_per_s(self) -> float:
        """Broadcasts of a symbol that the interval allows."""
        return 1000 / self.interval_ms

    @property
    def read_per_s(self) -> float:
        """Broadcasts a second of a symbol that a client reads."""
        return self.popular_per_s or self.broadcasts_per_s

    @property
    def view_levels_changed(self) -> float:
        """Levels of a client's message."""
        return min(self.levels_changed, 2.0 * self.depth)


@dataclass(frozen=True)
class Machines:
    """The machines that may be used; raises `SettingsError`.

    Args:
        cores: Of each machine.
        network_gbit: Of each machine, in each direction.
        memory_gb: Of each machine.
        share: Share of a core, of a network and of memory that is used, so that bursts and failures fit.
        readers: `worker` if each gateway worker reads the streams for itself, `machine` if one reader serves
            all workers of a machine.
    """

    cores: int = 16
    network_gbit: float = 10.0
    memory_gb: float = 64.0
    share: float = 0.7
    readers: str = "worker"

    def __post_init__(self) -> None:
        for name, bounds in MACHINE_BOUNDS.items():
            check(name, getattr(self, name), bounds)
        if self.readers not in READERS:
            raise SettingsError("readers", self.readers, f"must be one of {', '.join(READERS)}")

    @property
    def network_bytes_s(self) -> float:
        """Bytes a second of a machine, in each direction, that may be used."""
        return self.share * self.network_gbit * 1e9 / 8

    @property
    def memory_bytes(self) -> float:
        """Memory of a machine that may be used."""
        return self.share * self.memory_gb * 1e9
