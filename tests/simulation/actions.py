"""What a fault does to the world, and how it ends."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from tests.conformance.error_replies import REPLIES
from tests.simulation.cluster_faults import ClusterFaults
from tests.simulation.damage import Damage, Mend
from tests.simulation.faults import CUT_OFF, FLUSH, LATER, TOGGLE, TWO_MASTERS, Fault
from tests.simulation.loop import Process
from tests.simulation.network import Weather
from tests.simulation.nodes import Node
from tests.simulation.processes import Actor, Ingestor, WebClient
from tests.simulation.server import Replica
from tests.simulation.streams import Id

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
LAG_S = 1.0
"""A replica that takes over lags by at most this time."""

SEEN_S = 0.03
"""An entry that will be lost stays for at most this time, so that others can read it."""

TRY_WITHIN_S = 1.5
TRY_EVERY_S = 0.02
"""Some faults wait until there is something to damage."""

BAD = Weather(0.002, cut_before=0.03, cut_after=0.05, late=0.05, slow_reply=0.03)
SLOW = Weather(0.03)
LATE_STATE = Weather(late_state=0.5)


class Actions:
    """Makes faults strike. `done` counts them by kind."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.done: Counter[str] = Counter()
        self._undo: dict[object, Callable[[], None]] = {}
        self._at_seal: list[Fault] = []
        self._at_input: list[Fault] = []
        self._at_output: list[Fault] = []
        self._silenced: set[bytes] = set()
        self._kept: tuple[Replica, int]
        damage = Damage(world)
        self._damage = damage
        self._cluster = ClusterFaults(world)
        self._simple: dict[str, Callable[[Fault], bool]] = {
            "terminate ingestor": self._terminate,
            "cut client": self._cut_client,
            "cut links": self._cut_links,
            "bad links": lambda fault: self._weather(fault, BAD),
            "slow links": lambda fault: self._weather(fault, SLOW),
            "late state": lambda fault: self._weather(fault, LATE_STATE, 2.0),
            "restart server": self._restart,
            "fail over": self._fail_over,
            "fill memory": self._fill,
            "error replies": self._refuse,
            LATER: self._add,
            TOGGLE: self._toggle,
            "crash after a seal": self._crash_after_seal,
            "lose the tail in place": self._lose_in_place,
            "cut a hole": self._cut_hole,
            "delete input": self._delete_input,
            "delete snapshots": lambda fault: self._harm(fault, damage.delete_snapshots),
            "delete a checkpoint": lambda fault: self._harm(fault, damage.delete_checkpoint),
            "delete deltas": lambda fault: self._harm(fault, damage.delete_deltas),
            "change a type": lambda fault: self._harm(fault, damage.change_type),
            FLUSH: self._flush,
            "move a slot": lambda fault: self._cluster.move(fault, back=False),
            "move a slot and back": lambda fault: self._cluster.move(fault, back=True),
            "replace a node": self._replace_node,
            CUT_OFF: self._replace_node,
            TWO_MASTERS: self._replace_node,
            "freeze the replica": self._freeze_replica,
            "restart the replica": self._restart_replica,
            "promote the replica": self._promote_replica,
            "cut from the replica": self._cut_from_replica,
        }

    def strike(self, fault: Fault) -> None:
        """Let `fault` strike, unless it makes no sense at the moment."""
        action = self._simple.get(fault.kind)
        if action is None:
            what = fault.kind.partition(" ")[0]
            action = {"kill": self._kill, "pause": self._pause, "part": self._part}[what]
        if action(fault):
            self.done[fault.kind] += 1
            self.world.trace("fault", fault.kind, fault)

    def end_all(self) -> None:
        """End every fault that still lasts."""
        self._cluster.finish()
        for key in list(self._undo):
            self._end(key)

    def appended(self, key: bytes, stream_id: Id, *, changes: bool) -> None:
        """A stream entry was added, perhaps with `changes` of books: faults that wait for it strike now."""
        world = self.world
        if any(key == oracle.events for oracle in world.oracles):
            self._trigger(self._at_input, self._lose_soon)
        elif any(key == oracle.deltas for oracle in world.oracles) and stream_id[1]:
            if changes:
                self._trigger(self._at_output, self._lose_soon)
        elif any(key == oracle.deltas for oracle in world.oracles):
            if key in self._silenced:
                self._silenced.discard(key)
                world.silence(on=bool(self._silenced))
            writer = world.server.executing
            self._trigger(self._at_seal, lambda fault: self._crash_writer(fault, writer))

    def _trigger(self, waiting: list[Fault], strike: Callable[[Fault], None]) -> None:
        """Strike after the current command."""
        loop = self.world.loop
        for fault in waiting:
            loop.call_soon(strike, fault, context=loop.world.context)
        waiting.clear()

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

    # --- processes --------------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> bool:
        victim = self._victim(fault)
        key = ("kill", victim.name)
        if key in self._undo or victim.process.stands:
            return False
        victim.kill()
        return self._lasts(key, fault.lasts_s, victim.start)

    def _pause(self, fault: Fault) -> bool:
        victim = self._victim(fault)
        return not victim.process.stands and self._pause_for(victim.process, fault.lasts_s)

    def _pause_for(self, process: Process, seconds: float) -> bool:
        process.paused = True
        return self._lasts(("pause", process.name), seconds, process.proceed)

    def _terminate(self, fault: Fault) -> bool:
        victim = chosen(self.world.ingestors, fault)
        if victim.process.stands or victim.task is None or victim.task.done():
            return False
        victim.terminate()
        return True

    def _crash_after_seal(self, fault: Fault) -> bool:
        """The next ingestor to seal crashes before its next entry; end a leader, so that one must seal."""
        self._at_seal.append(fault)
        self._end_leader(fault)
        return True

    def _end_leader(self, fault: Fault) -> None:
        """End a leader, if there is one, by a crash or by SIGTERM."""
        leading = self._leading()
        if leading and part_of(fault, "crash") < 0.5:
            victim = chosen(leading, fault)
            victim.kill()
            self._lasts(("kill", victim.name), fault.lasts_s, victim.start)
        elif leading:
            chosen(leading, fault).terminate()

    def _leading(self) -> list[Ingestor]:
        return [ingestor for ingestor in self.world.ingestors if ingestor.leads]

    def _crash_writer(self, fault: Fault, connection: Any) -> None:
        victim = next((i for i in self.world.ingestors if i.process is connection.link.process), None)
        if victim is None or victim.process.stands:
            return
        key = ("kill", victim.name)
        victim.kill()
        self._lasts(key, fault.lasts_s, victim.start)

    # --- links ------------------------------------------------------------------------------------------

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

    def _weather(self, fault: Fault, weather: Weather, longer_s: float = 0.5) -> bool:
        network = self.world.network
        if "weather" in self._undo:
            return False
        network.set_weather(weather)
        return self._lasts("weather", fault.lasts_s + longer_s, lambda: network.set_weather(Weather()))

    # --- the server -------------------------------------------------------------------------------------

    def _restart(self, fault: Fault) -> bool:
        server = self.world.server
        if server.down:
            return False
        server.stop()
        return self._lasts("down", fault.lasts_s, server.start)

    def _fail_over(self, fault: Fault) -> bool:
        """Copy the data to the replica now, and let it take over a little later."""
        if not self._is_whole() or self.world.server.down:
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
        server.skew_us += self.world.clock_rng.randint(-300_000, 300_000)
        self.world.register_again()
        self._lasts("down", fault.lasts_s / 2, server.start)

    def _replace_node(self, fault: Fault) -> bool:
        """A node ends for good, or is cut off. Its replica, which lags, takes its slots over soon."""
        node = self._cluster.replaceable(fault)
        if node is None or not self._is_whole() or self.world.server.down:
            return False
        replica, read = self.world.server.replicate(), self.world.replicas
        plan = "" if read is None else read.plan(fault.kind, fault.choice, node)
        return self._lasts(
            "lag", fault.choice * LAG_S, lambda: self._promote_node(fault, node, replica, plan)
        )

    def _promote_node(self, fault: Fault, node: Node, replica: Replica, plan: str) -> None:
        read = self.world.replicas
        if self.world.server.down or not self._cluster.is_still(node):
            if read is not None:
                read.give_up(node)
            return
        promoted = self._cluster.replace(fault, node, replica)
        if read is not None:
            read.replaced(plan, node, promoted)
        self.world.register_again()

        def up() -> None:
            promoted.up = True

        self._lasts(("node", promoted.number), fault.lasts_s / 2, up)

    def _lose_in_place(self, fault: Fault) -> bool:
        """Lose the tail as when a proxy hides a failover: no connection breaks, `run_id` stays.

        It is lost after the next input entry, so that a leader has consumed what is lost, or after the next
        change is published, so that an idle leader writes recovery state next. The program promises nothing
        for a seal that is lost like this, nor for input that continues before every leader has noticed. So
        input pauses until all partitions are sealed again.
        """
        if not self._is_whole():
            return False
        self._undo["lag"] = lambda: None
        (self._at_input if fault.choice < 0.4 else self._at_output).append(fault)
        return False

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """A command is about to be executed; what it adds may be lost, a script as a whole."""
        if name != b"XADD" or self.world.server.store.script_wrote:
            return
        waiting = {oracle.events: self._at_input for oracle in self.world.oracles}
        if arguments[1][-2:] != b"-0":
            waiting |= {oracle.deltas: self._at_output for oracle in self.world.oracles}
        if waiting.get(arguments[0]):
            self._kept = self.world.server.replicate(), self.world.seals()

    def _lose_soon(self, fault: Fault) -> None:
        self.world.silence(on=True)
        self._lasts("lag", fault.choice * SEEN_S, lambda: self._lose(fault, *self._kept))

    def _lose(self, fault: Fault, replica: Replica, seals: int) -> None:
        world = self.world
        sound = not world.server.down and world.seals() == seals
        world.silence(on=sound or bool(self._silenced))
        if not sound:
            return
        self._silenced = {oracle.deltas for oracle in world.oracles}
        world.server.store.take_data(replica.data)
        world.journal.lose(replica.mark)
        if part_of(fault, "history") < 0.5:  # what a replica has it has to give up, sooner or later
            world.server.store.replid = b"%040x" % int(part_of(fault, "replid") * 2**53)
        world.register_again()
        self.done[fault.kind] += 1
        if part_of(fault, "pause") < 0.3:
            for leader in self._leading():  # to wake up later, with writes that are due
                self._pause_for(leader.process, 1.0 + fault.lasts_s)

    def _cut_hole(self, fault: Fault) -> bool:
        """Pause a reader, and remove an entry that it has yet to read and that no new load needs."""
        victim = chosen([*self.world.gateways, *self.world.consumers], fault)
        if victim.process.stands:
            return False
        self._pause_for(victim.process, TRY_WITHIN_S)
        self._try(fault, self._make_hole)
        return False

    def _make_hole(self, _fault: Fault) -> bool:
        for oracle in self.world.oracles:
            entry = self.world.hole(oracle)
            if entry is not None:
                self.world.server.store.execute(b"XDEL", oracle.deltas, b"%d-%d" % entry)
                return True
        return False

    def _try(self, fault: Fault, strike: Callable[[Fault], bool], until_s: float | None = None) -> None:
        """Try again and again, for a while, while nobody's copy of the data is to be used later."""
        loop = self.world.loop
        if self._is_whole() and not self.world.server.down and strike(fault):
            self.done[fault.kind] += 1
            return
        until_s = loop.time() + TRY_WITHIN_S if until_s is None else until_s
        if loop.time() < until_s:
            loop.call_later(TRY_EVERY_S, self._try, fault, strike, until_s)

    # --- the replica ------------------------------------------------------------------------------------

    def _freeze_replica(self, fault: Fault) -> bool:
        replica = self.world.replica_of(fault.choice)

        def thaw() -> None:
            replica.frozen = False

        if "replica" in self._undo:
            return False
        replica.frozen = True
        return self._lasts("replica", fault.lasts_s, thaw)

    def _restart_replica(self, fault: Fault) -> bool:
        replica = self.world.replica_of(fault.choice)
        if "replica" in self._undo:
            return False
        replica.server.stop()
        empty = part_of(fault, "empty") < 0.3
        return self._lasts("replica", fault.lasts_s / 2, lambda: replica.restart(empty=empty))

    def _promote_replica(self, fault: Fault) -> bool:
        """Let it take itself for the primary; it is filled anew when it is a replica again."""
        replica = self.world.replica_of(fault.choice)

        def demote() -> None:
            replica.promoted = False
            replica.forget()

        if "replica" in self._undo:
            return False
        replica.promoted = True
        return self._lasts("replica", fault.lasts_s, demote)

    def _cut_from_replica(self, _fault: Fault) -> bool:
        for network in self.world.replica_networks():
            for link in network.links.values():
                link.cut()
        return True

    # --- keys of ours -----------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        """Whether no key is damaged, and no replica will bring back other data."""
        return not {"lag", "damage"} & self._undo.keys()

    def _harm(self, fault: Fault, harm: Callable[[Fault], Mend | None]) -> bool:
        """Damage a key, and mend it after a while; sometimes no ingestor lives that remembers."""
        mend = harm(fault) if self._is_whole() and not self.world.server.down else None
        if mend is None:
            return False
        if part_of(fault, "alone") < 0.4:
            for victim in self.world.ingestors:
                if not victim.process.stands:
                    victim.kill()
                    self._lasts(("kill", victim.name), fault.lasts_s / 2, victim.start)
        return self._lasts("damage", fault.lasts_s, mend)

    def _delete_input(self, fault: Fault) -> bool:
        """Let input wait, because who reads it stands still or has ended, and delete some of it."""
        leading = self._leading()
        if leading and part_of(fault, "pause") < 0.5:
            for leader in leading:
                self._pause_for(leader.process, TRY_WITHIN_S)
        else:
            self._end_leader(fault)
        self._try(fault, self._damage.delete_unread)
        return False

    def _fill(self, fault: Fault) -> bool:
        store = self.world.server.store

        def empty() -> None:
            store.memory_full = False

        store.memory_full = True
        return self._lasts("memory", fault.lasts_s, empty)

    def _refuse(self, fault: Fault) -> bool:
        """Answer many commands of our processes with error replies; some are executed all the same."""
        server, rng = self.world.server, Random(f"{fault.choice} replies")
        if server.refuse is not None:
            return False

        def refuse(peer: Any) -> tuple[str, bool] | None:
            ours = peer.link.process is not self.world.producing
            return (rng.choice(REPLIES), rng.random() < 0.5) if ours and rng.random() < 0.4 else None

        def accept() -> None:
            server.refuse = None

        server.refuse = refuse
        return self._lasts("replies", fault.lasts_s + 0.3, accept)

    def _add(self, _fault: Fault) -> bool:
        self.world.register_late()
        return True

    def _toggle(self, fault: Fault) -> bool:
        """Withdraw and register the last instrument repeatedly, and end a leader in between."""
        flips = 3 + int(part_of(fault, "flips") * 4)
        every_s = self.world.poll_s * (0.9 + part_of(fault, "every"))
        for number in range(flips):
            self.world.loop.call_later(number * every_s, self.world.toggle_late)
        self.world.loop.call_later(flips * every_s * part_of(fault, "when"), self._end_leader, fault)
        return True

    def _flush(self, _fault: Fault) -> bool:
        server = self.world.server
        if server.down or not self._is_whole():
            return False
        server.flush()
        self.world.register_again()
        return True


def part_of(fault: Fault, what: str) -> float:
    """A number from 0 to 1, fixed by the fault and different for each purpose."""
    return Random(f"{fault.choice} {what}").random()


def chosen(many: Sequence[T], fault: Fault) -> T:
    """The fault's victim."""
    return many[int(fault.choice * len(many))]
