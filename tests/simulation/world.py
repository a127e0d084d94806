"""One seeded run of the whole system, from its beginning to its verdict."""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from unittest.mock import patch

from redis.asyncio import Redis

import depthcast.consumer.consumer
import depthcast.gateway.runtime.market_reader
import depthcast.ingestor.runtime.service
import depthcast.ingestor.runtime.state_keeper
import depthcast.shared.replica_choice
import depthcast.shared.runtime.replicas
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.partition import partition_of
from depthcast.shared.reader import PartitionReader
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.replica_choice import Address
from depthcast.shared.runtime.redis import execute
from depthcast.shared.runtime.replicas import ReadingClient, ReplicaServers
from depthcast.shared.settings import GatewaySettings, IngestorSettings
from depthcast.updates import State
from tests.simulation.actions import Actions
from tests.simulation.audit import Audit
from tests.simulation.branch import Branch
from tests.simulation.calm import Calm
from tests.simulation.checkpoints import without_order
from tests.simulation.cluster_replicas import ClusterReplicas
from tests.simulation.decisions import Decisions
from tests.simulation.faults import (
    LATER,
    TOGGLE,
    draw_cluster_faults,
    draw_faults,
    draw_replica_faults,
)
from tests.simulation.freshness import FreshnessAudit
from tests.simulation.journal import Journal
from tests.simulation.loop import PROCESS, START_S, Process, SimulatedLoop
from tests.simulation.network import Link, Network
from tests.simulation.nodes import Nodes, slot_name
from tests.simulation.oracles import Model, PartitionOracle, best, grouped
from tests.simulation.processes import Actor, Gateway, Ingestor, StreamConsumer, WebClient
from tests.simulation.producers import KEYS, KINDS, PREFIX, URL, Corpus, Producer, make_instruments
from tests.simulation.replica_server import ADDRESS, ReplicaServer
from tests.simulation.server import Server
from tests.simulation.streams import ZERO, Fields, Id
from tests.simulation.watch import Watch

FAULTS_FROM_S: Final = 1.0
FAULTS_UNTIL_S: Final = 5.0
INPUT_UNTIL_S: Final = 6.5
SETTLED_WITHIN_S: Final = 40.0
"""All must agree within this time after the last input."""

LOOK_EVERY_S: Final = 0.25
AUDIT_EVERY_S: Final = 0.05
ROUNDS_TO_END: Final = 10_000
DAY_US: Final = 86_400_000_000


@dataclass
class Report:
    """The result of a run. `problems` is empty if all was right; `faults` counts the injected faults."""

    seed: int
    problems: list[str]
    faults: Counter[str]
    counts: Counter[str]
    trace: str
    virtual_s: float
    log: list[str] = field(default_factory=list)


class World:
    """Everything of one run, made from `seed` alone."""

    def __init__(
        self, seed: int, *, flush: bool = False, cluster: bool = False, verbose: bool = False
    ) -> None:
        self.seed = seed
        self.rng = Random(f"depthcast {seed}")
        self.loop = SimulatedLoop(Random(self.rng.random()))
        self.journal = Journal()
        self.watch = Watch()
        self.hash = hashlib.blake2b(digest_size=8)
        self.verbose = verbose
        self.log: list[str] = []
        self.stood_at: dict[str, float] = {}
        node_entries = self.rng.choice((1, 1, 3, 100))
        self.server = Server(self.loop, Random(self.rng.random()), self.journal, node_entries=node_entries)
        self.network = Network(self.loop, self.server, self.trace)
        self.partitions = self.rng.choice((1, 1, 2))
        self.instruments = make_instruments(self.rng, self.rng.randint(2, 4))
        self.late: set[str] = set()
        self.corpus = Corpus()
        self.faults = draw_faults(self.rng, FAULTS_FROM_S, FAULTS_UNTIL_S, flush=flush)
        self.trim_s = self.rng.choice((0.1, 1.0, 10.0))
        self._plan_changes_of_instruments()
        if cluster:
            self._make_cluster(Random(f"cluster {seed}"))
        self.follow_rng = Random(f"follow {seed}")
        self._make_actors()
        models = [
            Model(number, self.partitions, self.instruments, self.corpus, self.late)
            for number in range(self.partitions)
        ]
        self.decisions = Decisions()
        self.oracles = [PartitionOracle(self.journal, model, self.decisions) for model in models]
        self.actions = Actions(self)
        store = self.server.store
        self.audit = Audit(
            self.partitions,
            self.instruments,
            self.late,
            self.journal,
            store,
            self.server.process,
            self.watch.problem,
            {oracle.model.number: oracle.deleted for oracle in self.oracles},
        )
        store.appended, store.observer = self._appended, self
        self.freshness = FreshnessAudit(
            [KEYS.partition(number) for number in range(self.partitions)],
            self.journal,
            self.loop.time,
            self.watch.problem,
            lambda number: self.oracles[number].unread(),
        )
        self.branches: list[Branch] = []
        self.relists = 0
        self.relist_rng = Random(f"relist {seed}")
        self.watch.sizes_of = self.audit.sizes
        self._set_clocks(Random(f"clocks {seed}"))
        self.calm = Calm(self, seed) if Calm.is_for(seed, cluster=cluster) else None
        self._set_replica(Random(f"replica {seed}"))

    def _make_cluster(self, rng: Random) -> None:
        """Let the server stand for a cluster, with faults that only a cluster has."""
        slots = [b"", *(slot_name(KEYS.partition(number).deltas) for number in range(self.partitions))]
        self.server.nodes = Nodes(rng, slots, rng.choice((2, 3)))
        more = draw_cluster_faults(rng, FAULTS_FROM_S, FAULTS_UNTIL_S, self.faults)
        self.faults = sorted([*self.faults, *more], key=lambda fault: fault.at_s)

    def _set_clocks(self, rng: Random) -> None:
        """Let the clock of the server, and those of some readers, be a day off.

        Neither tells anything of freshness. Ingestors' clocks must agree with each other.
        """
        self.clock_rng = rng
        self.server.skew_us = rng.choice((0, 0, DAY_US, -DAY_US))
        for actor in (*self.gateways, *self.consumers):
            actor.skew_us += rng.choice((0, 0, DAY_US, -DAY_US))
            actor.process.skew_us = actor.skew_us

    def _set_replica(self, rng: Random) -> None:
        """Let readers of one server read from a replica, in two of three runs: some of them, or all."""
        lag_s = rng.choice((0.0, 0.05, 0.3))
        self.replica = ReplicaServer(self.loop, Random(rng.random()), self.server, lag_s=lag_s)
        self.replica_network = Network(self.loop, self.replica.server, self.trace)
        self.network.others.append(self.replica_network)
        readers = [*self.gateways, *self.consumers]
        reading = rng.choice(([], readers, [each for each in readers if rng.random() < 0.5]))
        if self.calm is not None:
            reading = readers
        self.places: Counter[str] = Counter()
        self.replicas: ClusterReplicas | None = None
        if self.server.nodes is not None and reading:
            self.replicas = ClusterReplicas(self, Random(rng.random()), self.server.nodes, lag_s=lag_s)
        for reader in reading:
            limits: dict[str, Any] = {
                "read_from": "replica",
                "replica_lag_max_ms": rng.choice((100, 2000, 600_000)),
            }
            if self.calm is not None:
                limits["replica_lag_max_ms"] = self.calm.lag_max_ms
            if isinstance(reader, Gateway):
                reader.settings = replace(reader.settings, **limits)
            else:
                vars(reader).update(limits)
        self.has_replica = bool(reading)
        self.replica_check_s = rng.choice((0.1, 0.1, 1.0))
        if self.calm is not None:
            self.faults = []
        elif reading:
            self.faults += draw_replica_faults(rng, FAULTS_FROM_S, FAULTS_UNTIL_S)

    def replica_of(self, choice: float) -> ReplicaServer:
        """One that follows, to be struck by a fault."""
        if self.replicas is None:
            return self.replica
        following = self.replicas.following()
        return following[int(choice * len(following))]

    def keeps_to_new(self, link: Link) -> bool:
        """Whether a process never reaches a master that was replaced."""
        return self.calm is not None and self.calm.keeps_to_new(link)

    def replica_networks(self) -> list[Network]:
        """The networks to all replicas."""
        if self.replicas is None:
            return [self.replica_network]
        return [network for _, network in self.replicas.all.values()]

    def _plan_changes_of_instruments(self) -> None:
        """The last instrument may come late, or come and go, often between two polls and broadcasts."""
        rng, kinds = self.rng, {fault.kind for fault in self.faults}
        last = list(self.instruments)[-1]
        self.poll_s, self.interval_ms = rng.choice((0.2, 1.0)), rng.choice((0, 20, 50, 300))
        if TOGGLE in kinds:
            self.late.add(last)
            self.poll_s, self.interval_ms = rng.choice((0.03, 0.03, 0.2)), rng.choice((0, 50, 300, 300))
        if LATER in kinds:
            self.late.add(last)
        absent = LATER in kinds or rng.random() < 0.7
        self.registered = self.instruments.keys() - (self.late if absent else set())

    # --- participants ------------------------------------------------------------------------------------

    def _make_actors(self) -> None:
        rng = self.rng
        ingestor = self._ingestor_settings()
        self.ingestors = [self._made(Ingestor, n, settings=ingestor) for n in range(rng.choice((1, 2, 2, 3)))]
        self.gateways = [
            self._made(Gateway, n, settings=self._gateway_settings()) for n in range(rng.choice((1, 2)))
        ]
        for gateway in self.gateways:
            gateway.settings = self._follow(gateway.settings)
        self.consumers = [
            self._made(
                StreamConsumer, n, symbols=rng.choice((None, list(self.instruments)[:1])), watch=self.watch
            )
            for n in range(rng.choice((1, 1, 2)))
        ]
        self.clients = [self._client(n) for n in range(rng.randint(2, 4))]
        self.producers = [
            Producer(Random(rng.random()), self.corpus, self.instruments, self.partitions)
            for _ in range(rng.choice((1, 2)))
        ]

    def _made(self, kind: Any, number: int, **what: Any) -> Any:
        name = f"{kind.__name__.lower()}{number}"
        actor = kind(self.loop, self.network, name, Random(self.rng.random()))
        vars(actor).update(what)
        return actor

    def _client(self, number: int) -> Any:
        rng = self.rng
        named = rng.sample(list(self.instruments), rng.randint(1, len(self.instruments)))
        return self._made(
            WebClient,
            number,
            gateways=self.gateways,
            symbols=rng.choice((named, ["*"])),
            watch=self.watch,
            pause_s=rng.choice((0.0, 0.0, 0.05, 0.4)),
            credit=rng.choice((None, None, 2, 8)),
            changes_until_s=START_S + INPUT_UNTIL_S,
        )

    def _ingestor_settings(self) -> IngestorSettings:
        rng = self.rng
        return IngestorSettings(
            redis_url=URL,
            prefix=PREFIX,
            partitions=self.partitions,
            interval_ms=self.interval_ms,
            snapshot_interval_ms=rng.choice((50, 300, 2000)),
            retention_s=rng.choice((0.0, 0.5, 2.0)),
            lease_ms=rng.choice((300, 600)),
            input_batch=rng.choice((1, 5, 500)),
            pending_rejects_max=rng.choice((1, 100)),
        )

    def _gateway_settings(self) -> GatewaySettings:
        rng = self.rng
        return GatewaySettings(
            redis_url=URL,
            prefix=PREFIX,
            heartbeat_ms=500,
            stale_ms=rng.choice((1500, 3000)),
            history_deltas=rng.choice((2, 8, 256)),
            write_buffer_bytes=1024,
            part_levels_max=3,
            channel_linger_s=rng.choice((0.5, 60.0)),
            stall_timeout_s=rng.choice((1.0, 30.0)),
            close_linger_s=0.5,
        )

    def _follow(self, settings: GatewaySettings) -> GatewaySettings:
        """Let most gateways follow only what is asked for, and many let it go soon."""
        rng = self.follow_rng
        return replace(
            settings,
            follow=rng.choice(("asked", "asked", "all")),
            follow_linger_s=rng.choice((0.0, 0.3, 60.0)),
            follow_wait_s=rng.choice((0.0, 0.5, 5.0)),
            channel_linger_s=rng.choice((0.0, settings.channel_linger_s)),
        )

    @property
    def actors(self) -> list[Actor]:
        return [*self.ingestors, *self.gateways, *self.consumers, *self.clients]

    # --- the run ----------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run from beginning to end; never raises because of the program."""
        with self._patched():
            task = self.loop.world.spawn(self._main())
            try:
                self.loop.run_until_complete(task)
            finally:
                self._end()
        all_of = self.replicas.all.values() if self.replicas is not None else ()
        read = [self.replica, *(replica for replica, _ in all_of)]
        counts = self.places + Counter(
            events=sum(len(self.journal.streams.get(oracle.events, [])) for oracle in self.oracles),
            broadcasts=sum(len(self.journal.streams.get(oracle.deltas, [])) for oracle in self.oracles),
            rejects=sum(len(self.journal.streams.get(oracle.rejects, [])) for oracle in self.oracles),
            lost=self.journal.lost,
            updates=self.watch.updates,
            resumed=self.watch.resumed,
            merged=self.watch.merged,
            taken_up=self.follow_count("taken_up"),
            unfollowed=self.follow_count("unfollowed"),
            added_elsewhere=sum(branch.added for branch in self.branches),
            replica_filled=sum(replica.filled for replica in read),
            replica_reads=sum(replica.reads for replica in read),
        )
        for actor in self.actors:
            counts += Counter({f"{actor.kind} ended: {name}": count for name, count in actor.ends.items()})
        faults = self.actions.done + self.network.faults
        return Report(
            self.seed, self.watch.problems, faults, counts, self.hash.hexdigest(), self.virtual_s, self.log
        )

    def follow_count(self, name: str) -> int:
        """How many symbols the gateways that run last have taken up, or let go."""
        cores = (gateway.core for gateway in self.gateways)
        return sum(getattr(core.counters, name) for core in cores if core is not None)

    @property
    def virtual_s(self) -> float:
        return self.loop.time() - START_S

    def trace(self, kind: str, who: str, what: Any) -> None:
        """Record an event; the trace is part of the run's identity."""
        text = f"{self.loop.time():.9f} {kind} {who} {without_order(what)!r}"
        self.hash.update(text.encode())
        if self.verbose:
            self.log.append(text[:300])

    async def _main(self) -> None:
        self.register_again()
        for actor in self.actors:
            self.loop.call_later(self.rng.random() * 0.3, actor.start)
        process = self.producing = Process(self.loop, "producer", Random(self.rng.random()))
        until_s = START_S + INPUT_UNTIL_S
        entries = self.rng.choice((20, 60, 120)) // len(self.producers)
        producing = [process.spawn(p.run(self.network.connect, entries, until_s)) for p in self.producers]
        for fault in self.faults:
            self.loop.call_at(START_S + fault.at_s, self.actions.strike, fault)
        if self.calm is not None:
            self.calm.plan()
        replicating = (
            asyncio.ensure_future((self.replicas or self.replica).run()) if self.has_replica else None
        )
        auditing = asyncio.ensure_future(self._audit_readers())
        await asyncio.sleep(FAULTS_UNTIL_S + 1.0)
        self.actions.end_all()
        self.register_late()
        await asyncio.wait(producing)
        await self._settle()
        auditing.cancel()
        with suppress(asyncio.CancelledError):
            await auditing
        if replicating is not None:
            replicating.cancel()
        self._check_outcome()

    def register_again(self) -> None:
        """Register exactly what an operator wants, whatever a failover changed."""
        store = self.server.store
        full, store.memory_full = store.memory_full, False
        for symbol in sorted(self.registered):
            value = to_json(self.instruments[symbol]).encode()
            store.execute(b"HSET", KEYS.instruments.encode(), symbol.encode(), value)
        for symbol in sorted(self.late - self.registered):
            store.execute(b"HDEL", KEYS.instruments.encode(), symbol.encode())
        store.memory_full = full

    def register_late(self) -> None:
        """Register the last instrument late."""
        self.registered = self.registered | self.late
        self.register_again()

    def toggle_late(self) -> None:
        """Withdraw the last instrument, or register it again; at the end it is registered.

        It may come back as something else.
        """
        if self.loop.time() < START_S + FAULTS_UNTIL_S + 1.0:
            if self.late <= self.registered and self.relist_rng.random() < 0.4:
                self._relist_late()
                return
            if not self.late <= self.registered and self.relist_rng.random() < 0.5:
                self.relists += 1
                for symbol in sorted(self.late):
                    self._change_terms(symbol)
            self.registered = self.registered ^ self.late
            self.register_again()
            for symbol in sorted(self.late):
                self.producing.spawn(self.producers[0].burst(symbol))

    def _relist_late(self) -> None:
        """Change the last instrument, by a request in the input or by the catalog alone."""
        self.relists += 1
        for symbol in sorted(self.late):
            number = 1000 * self.relists  # beyond all that withdrawals lead to
            wanted = self._change_terms(symbol)
            self.register_again()
            if self.relist_rng.random() < 0.7:
                self.producing.spawn(self.producers[0].relist(wanted._replace(listing=number)))
            self.producing.spawn(self.producers[0].burst(symbol))

    def _change_terms(self, symbol: str) -> Instrument:
        """Give an instrument another tick size, and sometimes another lot size, feed and `on_cross`."""
        rng, before = self.relist_rng, self.instruments[symbol]
        changed = before._replace(tick_size=str(1000 * self.relists))
        if rng.random() < 0.5:
            changed = changed._replace(lot_size=str(self.relists))
        if rng.random() < 0.6:
            feed, on_cross = rng.choice(KINDS)
            changed = changed._replace(feed=feed, on_cross=on_cross)
        self.instruments[symbol] = changed
        return changed

    # --- used by faults ---------------------------------------------------------------------------------

    def before(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """The server is about to execute a command."""
        self.audit.before(name, arguments)
        self.actions.before(name, arguments)

    def after(self, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """The server has executed a command."""
        self.audit.after(name, arguments)

    def _appended(self, key: bytes, stream_id: Id, fields: Fields) -> None:
        self.journal.appended(key, stream_id, fields)
        for oracle in self.oracles:
            if key == oracle.deltas:
                self.decisions.appended(key, oracle.model.number, stream_id, fields)
        self.audit.appended(key, stream_id, fields)
        self.freshness.appended(key, stream_id, fields)
        self.actions.appended(key, stream_id, changes=any(not name.startswith(b"_") for name in fields[::2]))

    def seals(self) -> int:
        """The number of leaderships that have begun."""
        return sum(
            not stream_id[1]
            for oracle in self.oracles
            for stream_id, _ in self.journal.streams.get(oracle.deltas, [])
        )

    def silence(self, *, on: bool) -> None:
        """Stop all input, including what is in flight, or allow it again."""
        for producer in self.producers:
            producer.silent = on
        if on:
            for connection in list(self.network.link(self.producing).connections):
                self.network.sever(connection)

    def oldest_snapshot(self, oracle: PartitionOracle) -> Id:
        """The position of the oldest of a partition's newest snapshots; `ZERO` while a symbol has none."""
        keys = KEYS.partition(oracle.model.number)
        symbols = [s for s in self.instruments if partition_of(s, self.partitions) == oracle.model.number]
        streams = [self.server.store.stream(keys.snapshots(symbol).encode()) for symbol in symbols]
        return min((s.ids[-1] if s is not None and s.ids else ZERO for s in streams), default=ZERO)

    def slowest_reader(self, oracle: PartitionOracle) -> Id:
        """The position of the reader that has read least."""
        number = oracle.model.number
        positions = [reader.position for _, part, reader in self._partition_readers() if part == number]
        return min((position for position in positions if position is not None), default=ZERO)

    def hole(self, oracle: PartitionOracle) -> Id | None:
        """An entry that may vanish: a reader has yet to read it, and it is the last change of its symbols.

        A new load begins after it, because the newest snapshots are newer.
        """
        stream = self.server.store.stream(oracle.deltas)
        after, before = self.slowest_reader(oracle), self.oldest_snapshot(oracle)
        last_changes = self.audit.parts[oracle.model.number].last_changes()
        ids = stream.ids[1:] if stream is not None else []
        return next(
            (entry for entry in reversed(ids) if after < entry < before and entry in last_changes), None
        )

    # --- the verdict ------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        deadline = self.loop.time() + SETTLED_WITHIN_S
        while problems := self.disagreements():
            if self.loop.time() >= deadline:
                self.watch.problems += problems
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def disagreements(self) -> list[str]:
        """A list of everything that does not agree yet."""
        said = [text for oracle in self.oracles if (text := oracle.published())]
        return said or [*self._readers(), *self._views()]

    def _readers(self) -> Iterator[str]:
        for name, symbol, replica in self._replicas():
            wrong = self._oracle(symbol).wrong(name, symbol, replica)
            if wrong:
                yield wrong

    def _replicas(self) -> Iterator[tuple[str, str, Replica | None]]:
        for gateway in self.gateways:
            for symbol in self.instruments:
                if self._follows(gateway, symbol):
                    yield gateway.name, symbol, self._shown(gateway, symbol)
        for consumer in self.consumers:
            for symbol in consumer.symbols or self.instruments:
                part = self._part(consumer, symbol)
                current = part is not None and part.reader.is_current(symbol)
                yield consumer.name, symbol, part.reader.shown.get(symbol) if part and current else None

    def _follows(self, gateway: Gateway, symbol: str) -> bool:
        """Whether a gateway should have the book: it may follow only what somebody has asked for."""
        if gateway.core is None or gateway.settings.follow == "all":
            return True
        market = gateway.core.market
        return symbol in market.demand.held or (symbol in market.listings and market.is_followed(symbol))

    def _shown(self, gateway: Gateway, symbol: str) -> Replica | None:
        number = partition_of(symbol, self.partitions)
        if gateway.core is None or len(gateway.core.market.upstreams) <= number:
            return None
        reader = gateway.core.market.upstreams[number].reader
        return reader.shown.get(symbol) if reader.is_current(symbol) else None

    def _partition_readers(self) -> Iterator[tuple[str, int, PartitionReader]]:
        for gateway in self.gateways:
            if gateway.core is not None:
                for number, upstream in enumerate(gateway.core.market.upstreams):
                    yield gateway.name, number, upstream.reader
        for consumer in self.consumers:
            if consumer.consumer is not None:
                for number, part in consumer.consumer._followed.items():
                    yield consumer.name, number, part.reader

    async def _audit_readers(self) -> None:
        while True:
            for name, number, reader in self._partition_readers():
                for audit in (self.audit, *(branch.audit for branch in self.branches)):
                    audit.parts[number].check_reader(name, reader)
                self.freshness.reads(name, number, reader.position)
            self._audit_live()
            if self.calm is not None:
                self.calm.reading.look()
            await asyncio.sleep(AUDIT_EVERY_S)

    def _audit_live(self) -> None:
        """Check what readers take for live, but not while they stand still, nor right after."""
        for gateway in self.gateways:
            if gateway.process.stands:
                self.stood_at[gateway.name] = self.loop.time()
            if gateway.core is None or self.loop.time() < self.stood_at.get(gateway.name, 0.0) + LOOK_EVERY_S:
                continue
            settings, listings = gateway.settings, gateway.core.market.listings
            live = {
                partition_of(symbol, self.partitions) for symbol in listings if not listings[symbol].stale
            }
            for number in sorted(live):
                limits = settings.stale_ms, settings.input_lag_max_ms
                self.freshness.check_live(gateway.name, number, *limits)
                self.freshness.check_age(gateway.name, number, settings.stale_ms)
        for consumer in self.consumers:
            found = consumer.consumer
            for symbol in self.instruments if found is not None else ():
                if found.state(symbol) is State.LIVE:
                    number = partition_of(symbol, self.partitions)
                    self.freshness.check_live(consumer.name, number, 5000, 5000)
                    self.freshness.check_age(consumer.name, number, 5000)

    def _part(self, consumer: StreamConsumer, symbol: str) -> Any:
        found = consumer.consumer
        return None if found is None else found._followed.get(partition_of(symbol, self.partitions))

    def _views(self) -> Iterator[str]:
        for client in self.clients:
            for symbol in self.instruments if client.symbols == ["*"] else client.symbols:
                book = client.client.session.books.get(symbol) if client.client else None
                oracle = self._oracle(symbol)
                doubt = (
                    oracle.doubt(symbol) if symbol not in oracle.model.late else book and book.stale_reason
                )
                right = State.LIVE if doubt is None else State.STALE
                if book is None or (book.state, book.stale_reason) != (right, doubt):
                    yield f"{client.name}: no {right} book of {symbol}"
                    continue
                held = {
                    "bid": dict(book.replica.book.bids.levels),
                    "ask": dict(book.replica.book.asks.levels),
                }
                levels = self._oracle(symbol).expected().books[symbol]
                view = best(grouped(levels, client.group), client.depth)
                if held != view:
                    yield f"{client.name}: {symbol} at seq {book.replica.seq} shows {held}, not {view}"

    def _oracle(self, symbol: str) -> PartitionOracle:
        return self.oracles[partition_of(symbol, self.partitions)]

    def _check_outcome(self) -> None:
        """Check what can only be checked at the end."""
        for oracle in self.oracles:
            self.watch.problems += oracle.check_rejects() + oracle.check_relistings()
            self.watch.problems += oracle.check_history()
        for actor in self.actors:
            for error in sorted(actor.ends.keys() - actor.may_end_by):
                self.watch.problem(f"{actor.name} ended by {error}")
        for gateway in self.gateways:
            if gateway.market_reader is not None and gateway.market_reader.mismatches:
                self.watch.problem(f"{gateway.name}: {gateway.market_reader.mismatches} digest mismatches")
        for problem in self.loop.errors:
            if "never retrieved" not in problem["message"]:
                self.watch.problem(f"unexpected: {problem['message']}: {problem.get('exception')!r}")

    # --- around it --------------------------------------------------------------------------------------

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """The stream consumer connects through the simulated network, and no digest mismatch goes unseen."""
        apply = Replica.apply

        def watched(replica: Replica, delta: Any) -> Any:
            result = apply(replica, delta)
            if result[0] is ApplyResult.MISMATCH:
                self.watch.problem(
                    f"a digest mismatch at seq {replica.seq}, delta {delta.prev_seq} to {delta.seq}"
                )
            return result

        choose = ReadingClient._moved

        async def moved(client: ReadingClient, before: Any, left: Any, reports: Any) -> None:
            after = client._choice.at
            if after != before:
                self.places["replica taken" if left is None else f"replica left: {left.reason}"] += 1
            await choose(client, before, left, reports)

        unexpected = _UnexpectedErrors(self.watch)
        logger = logging.getLogger("depthcast")
        logging.disable(logging.WARNING)
        logger.addHandler(unexpected)
        propagated, logger.propagate = logger.propagate, False
        try:
            with (
                patch.object(depthcast.consumer.consumer, "redis", self.network),
                patch.object(ReplicaServers, "client", self._client_of_replica),
                patch.object(ReadingClient, "_moved", moved),
                patch.object(depthcast.shared.runtime.replicas, "CHECK_S", self.replica_check_s),
                patch.object(depthcast.shared.replica_choice, "AGAIN_S", 0.5),
                patch.object(depthcast.ingestor.runtime.service, "POLL_S", self.poll_s),
                patch.object(depthcast.ingestor.runtime.state_keeper, "TRIM_EVERY_S", self.trim_s),
                patch.object(depthcast.gateway.runtime.market_reader, "POLL_S", self.poll_s),
                patch.object(Replica, "apply", watched),
                self.decisions.recorded(),
                self._replicas_of_cluster(),
            ):
                yield
        finally:
            logger.removeHandler(unexpected)
            logger.propagate = propagated
            logging.disable(logging.NOTSET)

    def _client_of_replica(self, address: Address, **_limits: Any) -> Redis:
        if self.replicas is not None:
            return self.replicas.all[address][1].connect(URL)
        assert address == ADDRESS
        return self.replica_network.connect(URL)

    @contextmanager
    def _replicas_of_cluster(self) -> Iterator[None]:
        """Let readers ask the simulated cluster for replicas, as they ask a real one."""
        found = self.replicas
        if found is None:
            yield
            return

        async def named(servers: ReplicaServers) -> list[Address]:
            await execute(servers._primary, "EXISTS", servers._key)  # somebody has to answer
            return found.named(slot_name(servers._key), self.network.link(PROCESS.get()))

        program = depthcast.shared.runtime.replicas
        with (
            patch.object(ReplicaServers, "named", named),
            patch.object(ReadingClient, "_clustered", property(lambda _: True)),
            patch.object(program, "plain_client", lambda client, key: client.at(key)),
        ):
            yield

    def _end(self) -> None:
        """End every task as at the end of a process, so that nothing is left behind."""
        for network in (self.network, *self.network.others):
            network.closed = True
        for process in [self.loop.world, *self.network.links]:
            process.paused = process.killed = False
            process.release()
        for task in self.loop.tasks:
            task.cancel()
        unfinished = [task for task in self.loop.tasks if not task.done()]
        for _ in range(ROUNDS_TO_END):
            if all(task.done() for task in unfinished):
                break
            self.loop.call_soon(lambda: None)
            self.loop.run_round()
        self.loop.close()


class _UnexpectedErrors(logging.Handler):
    """Reports every error that the program logs with its stack: it survived, but nothing planned for it."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.ERROR)
        self.watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self.watch.problem(f"{record.getMessage()}: {error!r}")
