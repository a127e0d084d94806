"""What a fault does to the world, and how it ends."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tests.simulation.faults import FLUSH, Fault
from tests.simulation.network import Weather
from tests.simulation.processes import Actor, WebClient
from tests.simulation.server import Replica

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
LAG_S = 1.0
"""A replica that takes over lacks at most so much."""

BAD = Weather(0.002, cut_before=0.03, cut_after=0.05, late=0.05, slow_reply=0.03)
SLOW = Weather(0.03)


class Actions:
    """`done` counts the faults that struck, by kind."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.done: Counter[str] = Counter()
        self._undo: dict[object, Callable[[], None]] = {}
        self._simple: dict[str, Callable[[Fault], bool]] = {
            "terminate ingestor": self._terminate,
            "cut client": self._cut_client,
            "cut links": self._cut_links,
            "bad links": lambda fault: self._weather(fault, BAD),
            "slow links": lambda fault: self._weather(fault, SLOW),
            "restart server": self._restart,
            "fail over": self._fail_over,
            "fill memory": self._fill,
            "add instrument": self._add,
            FLUSH: self._flush,
        }

    def strike(self, fault: Fault) -> None:
        """The time of `fault` has come; it is left out where it makes no sense just now."""
        action = self._simple.get(fault.kind)
        if action is None:
            what = fault.kind.partition(" ")[0]
            action = {"kill": self._kill, "pause": self._pause, "part": self._part}[what]
        if action(fault):
            self.done[fault.kind] += 1
            self.world.trace("fault", fault.kind, fault)

    def end_all(self) -> None:
        """Everything that still lasts ends now."""
        for key in list(self._undo):
            self._end(key)

    def _lasts(self, key: object, seconds: float, undo: Callable[[], None]) -> bool:
        self._undo[key] = undo
        self.world.loop.call_later(seconds, self._end, key)
        return True

    def _end(self, key: object) -> None:
        undo = self._undo.pop(key, None)
        if undo is not None:
            undo()

    def _victims(self, kind: str) -> Sequence[Actor]:
        world = self.world
        return {
            "ingestor": world.ingestors,
            "gateway": world.gateways,
            "consumer": world.consumers,
            "client": world.clients,
        }[kind]

    def _victim(self, fault: Fault) -> Actor:
        return chosen(self._victims(fault.kind.partition(" ")[2]), fault)

    # --- processes -----------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> bool:
        victim = self._victim(fault)
        key = ("kill", victim.name)
        if key in self._undo or victim.process.stands:
            return False
        victim.kill()
        return self._lasts(key, fault.lasts_s, victim.start)

    def _pause(self, fault: Fault) -> bool:
        victim = self._victim(fault)
        process = victim.process
        if process.stands:
            return False
        process.paused = True
        return self._lasts(("pause", process.name), fault.lasts_s, process.proceed)

    def _terminate(self, fault: Fault) -> bool:
        victim = chosen(self.world.ingestors, fault)
        if victim.process.stands or victim.task is None or victim.task.done():
            return False
        victim.terminate()
        return True

    # --- links ---------------------------------------------------------------------------------------------

    def _part(self, fault: Fault) -> bool:
        victim = self._victim(fault)
        way = victim.way if isinstance(victim, WebClient) else self.world.network.link(victim.process)
        key = ("part", victim.process.name)
        if key in self._undo:
            return False
        way.parted = True
        return self._lasts(key, fault.lasts_s, way.heal)

    def _cut_client(self, fault: Fault) -> bool:
        chosen(self.world.clients, fault).cut()
        return True

    def _cut_links(self, _fault: Fault) -> bool:
        for link in self.world.network.links.values():
            link.cut()
        return True

    def _weather(self, fault: Fault, weather: Weather) -> bool:
        network = self.world.network
        if "weather" in self._undo:
            return False
        network.set_weather(weather)
        return self._lasts("weather", fault.lasts_s + 0.5, lambda: network.set_weather(Weather()))

    # --- the server ----------------------------------------------------------------------------------------

    def _restart(self, fault: Fault) -> bool:
        server = self.world.server
        if server.down:
            return False
        server.stop()
        return self._lasts("down", fault.lasts_s, server.start)

    def _fail_over(self, fault: Fault) -> bool:
        """The replica's copy is made now, and it takes over a little later."""
        if "lag" in self._undo or self.world.server.down:
            return False
        replica = self.world.server.replicate()
        return self._lasts("lag", fault.choice * LAG_S, lambda: self._promote(fault, replica))

    def _promote(self, fault: Fault, replica: Replica) -> None:
        server = self.world.server
        if server.down:
            return
        server.stop()
        server.store.take_data(replica.data)
        server.journal.lose(replica.mark)
        self.world.register_again()
        self._lasts("down", fault.lasts_s / 2, server.start)

    def _fill(self, fault: Fault) -> bool:
        store = self.world.server.store

        def empty() -> None:
            store.memory_full = False

        store.memory_full = True
        return self._lasts("memory", fault.lasts_s, empty)

    def _add(self, _fault: Fault) -> bool:
        self.world.register_late()
        return True

    def _flush(self, _fault: Fault) -> bool:
        server = self.world.server
        if server.down or "lag" in self._undo:
            return False
        server.flush()
        self.world.register_again()
        return True


def chosen(many: Sequence[T], fault: Fault) -> T:
    """The fault's victim."""
    return many[int(fault.choice * len(many))]
