"""A seeded simulation of relays: a leader at one server, relays, a copy at another, and a reader of it.

Everything of the program runs as it is: relay, follower, catalog, scripts. The leader is a stand-in that
writes what a leader writes, by the contract, and goes on from whatever the source still has.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, Final

from depthcast.broadcaster.numbering import first_seq
from depthcast.relay.sources import one_source
from depthcast.runtime.relay import DeploymentRelay
from depthcast.shared.codec import encode_delta, encode_info, encode_snapshot
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.freshness import Freshness
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.replica import Replica
from depthcast.shared.runtime.catalog import Catalog
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.redis import Connect
from depthcast.shared.settings import RelaySettings
from depthcast.shared.types import Delta, EntryInfo, Snapshot
from tests.simulation.journal import Journal
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network, Weather
from tests.simulation.server import Server
from tests.simulation.streams import Fields, Id, Stream

SYMBOLS: Final = ("A", "B", "C")
SOURCE, TARGET = "redis://source:1/0", "redis://target:1/0"
KEYS: Final = DeploymentKeys("sim")
OF: Final = KEYS.partition(0)
FAULTY_S: Final = 25.0
QUIET_S: Final = 20.0
ROUNDS_TO_END: Final = 10_000

Levels = dict[str, dict[int, int]]


class Leader:
    """Writes to the source. `published`: the digest of every state that was published, by symbol and seq."""

    def __init__(self, world: "RelayWorld", rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.position = ZERO
        self.books: dict[str, Replica] = {}
        self.states: dict[Position, dict[str, tuple[int, list[int], list[int], int]]] = {ZERO: {}}
        self.published: dict[tuple[str, int], int] = {}
        self.entries = 0
        self.trims = True

    def do(self, *command: Any) -> Any:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        reply = self.world.source.store.execute(*words)
        self.world.source.wake()
        return reply

    def begin(self) -> None:
        """Seal a new epoch on what the source has, and move all symbols, which get snapshots."""
        self.do("HSET", KEYS.meta, "protocol", 1, "partitions", 1)
        for symbol in SYMBOLS:
            self.do("HSET", KEYS.instruments, symbol, "{}")
        self.do("SET", KEYS.incarnation, f"data-{self.rng.random()}", "NX")
        stream = self.world.source.store.stream(OF.deltas.encode())
        previous = ZERO if stream is None else Position(*stream.last_id)
        if previous != ZERO:
            held = self.states.get(previous)
            assert held is not None, previous
            self.books = {symbol: _replica(state) for symbol, state in held.items()}
        epoch = max(self.world.source.store.clock_us() // 1000, previous.epoch + 1)
        self._write(Position(epoch, 0), {}, prev=str(previous))
        moves = {}
        for symbol in SYMBOLS:
            book = self.books.setdefault(symbol, Replica())
            seq = first_seq(epoch, book.seq)
            moves[symbol] = Delta(book.seq, seq, [], [], book.digest, 0)
            book.seq = seq
        self._write(Position(epoch, 1), moves)
        for symbol in SYMBOLS:
            self.snapshot(symbol)

    def step(self) -> None:
        """Publish an entry: some changes, or a heartbeat; sometimes a snapshot, sometimes a trim."""
        changes = {symbol: self._change(symbol) for symbol in SYMBOLS if self.rng.random() < 0.5}
        self._write(self.position.next(), changes)
        if self.rng.random() < 0.2:
            self.snapshot(self.rng.choice(SYMBOLS))
        if self.trims and self.rng.random() < 0.05:
            self._trim()

    def snapshot(self, symbol: str) -> None:
        book = self.books[symbol]
        raw = encode_snapshot(
            Snapshot(book.seq, book.book.bids.flat(), book.book.asks.flat(), book.digest, self.world.now_us())
        )
        key = OF.snapshots(symbol)
        held = self.world.source.store.stream(key.encode())
        if held is None or Position(*held.last_id) < self.position:
            self.do("XADD", key, "MAXLEN", 2, self.position, "s", raw)

    def _change(self, symbol: str) -> Delta:
        book = self.books[symbol]
        price = self.rng.randint(1, 5)
        quantity = self.rng.randint(0, 3)
        levels = [price, quantity]
        flat = book.book.bids.flat()
        after = dict(zip(flat[::2], flat[1::2], strict=True)) | {price: quantity}
        delta = Delta(book.seq, book.seq + 1, levels, [], digest_of(after.items(), ()), 1)
        book.apply(delta)
        return delta

    def _write(self, position: Position, deltas: Mapping[str, Delta], prev: str | None = None) -> None:
        info = EntryInfo(self.world.now_us(), "0-0", 0, 0, 0, prev=prev)
        words: list[Any] = ["_", encode_info(info)]
        for symbol, delta in deltas.items():
            words += [symbol, encode_delta(delta)]
            self.published[symbol, delta.seq] = delta.digest
        words += ["_w", self.world.source.store.clock_us()]
        self.do("XADD", OF.deltas, position, *words)
        self.position = position
        self.entries += 1
        self.states[position] = {symbol: _state(book) for symbol, book in self.books.items()}

    def _trim(self) -> None:
        newest = []
        for symbol in SYMBOLS:
            stream = self.world.source.store.stream(OF.snapshots(symbol).encode())
            newest.append(Position(*stream.last_id) if stream is not None else ZERO)
        self.do("XTRIM", OF.deltas, "MINID", "~", min(newest))


def _state(book: Replica) -> tuple[int, list[int], list[int], int]:
    return book.seq, book.book.bids.flat(), book.book.asks.flat(), book.digest


def _replica(state: tuple[int, list[int], list[int], int]) -> Replica:
    seq, bids, asks, digest = state
    return Replica(Snapshot(seq, bids, asks, digest, 0))


def _end_of(stream: Stream, count: int) -> tuple[list[Id], list[Fields]]:
    return stream.ids[-count:], stream.fields[-count:]


class CopyReader:
    """Follows the copy as gateways do; each book that it shows must be one that was published."""

    def __init__(self, world: "RelayWorld", connect: Connect) -> None:
        self.world = world
        self.reader = PartitionReader(lambda symbol: symbol in SYMBOLS)
        client = connect(TARGET)
        self.catalog = Catalog(connect(TARGET), KEYS)
        self.follower = Follower(client, OF, self.reader, lambda: SYMBOLS)
        self.freshness = Freshness(self.catalog.clock, 5.0, 5000)
        self.seqs: dict[str, int] = {}
        self.newest_us = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll())
            tasks.create_task(self._follow())

    async def _poll(self) -> None:
        while True:
            with suppress(RedisUnavailable):
                await self.catalog.poll(asyncio.get_running_loop().time())
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        async for entry in self.follower.entries():
            if entry is None:
                continue
            for update in entry.updates:
                self._check(update.symbol, update.replica)
            if entry.written is not None:
                self.freshness.record(entry.written, asyncio.get_running_loop().time())
                self.newest_us = entry.written.us or 0

    def _check(self, symbol: str, replica: Replica) -> None:
        wanted = self.world.leader.published.get((symbol, replica.seq))
        if replica.digest != wanted:
            self.world.problems.append(f"{symbol} at {replica.seq}: {replica.digest}, published was {wanted}")
        if replica.seq < self.seqs.get(symbol, 0):
            self.world.problems.append(f"{symbol} went back to {replica.seq} from {self.seqs[symbol]}")
        self.seqs[symbol] = replica.seq


class RelayWorld:
    """One run. `problems`: what was wrong; `counts`: what happened."""

    def __init__(self, seed: int) -> None:
        rng = Random(seed)
        self.rng = rng
        self.loop = SimulatedLoop(Random(rng.random()))
        self.source = Server(self.loop, Random(rng.random()), Journal(), node_entries=10)
        self.target = Server(self.loop, Random(rng.random()), Journal(), node_entries=10)
        self.target.skew_us = rng.choice((0, 7_000_000, -7_000_000))
        self.networks = [Network(self.loop, each, lambda *_: None) for each in (self.source, self.target)]
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.leader = Leader(self, Random(rng.random()))
        self.relays: list[tuple[Process, DeploymentRelay]] = []
        self.ending = False
        self._replicas: dict[str, Any] = {}

    def now_us(self) -> int:
        return self.loop.world.now_us()

    def connect(self, url: str, **options: Any) -> Any:
        return self.networks[url == TARGET].connect(url, **options)

    def run(self) -> "RelayWorld":
        try:
            self.loop.run_until_complete(self._main())
        finally:
            self._end()
        return self

    def _end(self) -> None:
        """End every task as at the end of a process, so that nothing is left behind."""
        self.ending = True
        for network in self.networks:
            network.closed = True
            for process in [self.loop.world, *network.links]:
                process.paused = process.killed = False
                process.release()
        for task in self.loop.tasks:
            task.cancel()
        for _ in range(ROUNDS_TO_END):
            if all(task.done() for task in self.loop.tasks):
                break
            self.loop.call_soon(lambda: None)
            self.loop.run_round()
        self.loop.close()

    def start_relay(self) -> None:
        """Another process."""
        number = self.counts["relays"]
        self.counts["relays"] += 1
        process = Process(self.loop, f"relay-{number}", Random(self.rng.random()))
        settings = RelaySettings(
            source_url=SOURCE, redis_url=TARGET, prefix="sim", source_name="sim",
            relay_lease_ms=1000, snapshot_poll_ms=200, relay_batch_entries=self.rng.choice((1, 5, 200)),
            relay_batch_bytes=self.rng.choice((1024, 1_000_000)),
        )  # fmt: skip

        async def run() -> None:
            relay = DeploymentRelay(one_source(settings), settings, f"relay-{number}", self.connect)
            self.relays.append((process, relay))
            try:
                await relay.run()
            except Exception as error:  # noqa: BLE001  # whatever ends a relay is a finding
                if not self.ending:
                    self.problems.append(f"relay-{number} ended: {error!r}")

        process.spawn(run())

    def kill_relay(self) -> None:
        """The oldest one, without notice."""
        if self.relays:
            process, relay = self.relays.pop(0)
            process.killed = True
            for network in self.networks:
                network.killed(process)
            self.counts["replaced"] += sum(each.replaced for each in relay.partitions)
            self.counts["kills"] += 1

    # --- faults -----------------------------------------------------------------------------------------

    def _lose(self, server: Server, name: str) -> None:
        """A replica that stopped receiving a while ago is promoted."""
        if (held := self._replicas.pop(name, None)) is None:
            self._replicas[name] = server.replicate()
            return
        server.stop()
        server.store.take_data(held.data)
        server.start()
        self.counts[f"{name} lost"] += 1
        if server is self.source:
            self._new_leader()

    def _flush(self, server: Server, name: str) -> None:
        server.flush()
        self._replicas.pop(name, None)
        self.counts[f"{name} flushed"] += 1
        if server is self.source:
            self._new_leader()

    def _new_leader(self) -> None:
        if self.source.store.stream(OF.deltas.encode()) is None:
            self.leader.books = {symbol: _replica(_state(book)) for symbol, book in self.leader.books.items()}
        self.leader.begin()

    def _restart(self, server: Server) -> None:
        server.stop()
        self.loop.call_later(self.rng.uniform(0.01, 1.5), server.start, context=self.loop.world.context)
        self.counts["restarts"] += 1

    def _weather(self) -> None:
        bad = Weather(cut_before=0.02, cut_after=0.02, late=0.02, slow_reply=0.02)
        self.rng.choice(self.networks).set_weather(self.rng.choice((bad, Weather(), Weather(delay_s=0.02))))

    def _pause(self) -> None:
        if self.relays:
            process, _ = self.rng.choice(self.relays)
            process.paused = True
            self.loop.call_later(self.rng.uniform(0.1, 3.0), process.proceed, context=self.loop.world.context)
            self.counts["pauses"] += 1

    def _full(self) -> None:
        self.target.store.memory_full = not self.target.store.memory_full

    def _faults(self) -> list[Callable[[], None]]:
        return [
            self.kill_relay, self.kill_relay, self.start_relay, self._weather, self._weather, self._pause,
            lambda: self._lose(self.source, "source"), lambda: self._lose(self.source, "source"),
            lambda: self._lose(self.target, "target"), lambda: self._lose(self.target, "target"),
            lambda: self._flush(self.target, "target"), self._full,
            lambda: self._restart(self.target), lambda: self._restart(self.source),
            *([lambda: self._flush(self.source, "source")] if self.rng.random() < 0.3 else []),
        ]  # fmt: skip

    # --- the run ----------------------------------------------------------------------------------------

    async def _main(self) -> None:
        self.leader.begin()
        self.start_relay()
        reading = Process(self.loop, "reader", Random(self.rng.random()))
        made: list[CopyReader] = []

        async def read() -> None:
            made.append(CopyReader(self, self.connect))
            await made[0].run()

        reading.spawn(read())
        end = self.loop.time() + FAULTY_S
        while self.loop.time() < end:
            await self._go_on(self.rng.uniform(0.05, 0.6))
            self.rng.choice(self._faults())()
            if len(self.relays) < 1 or self.rng.random() < 0.1:
                self.start_relay()
            while len(self.relays) > 3:
                self.kill_relay()
        await self._settle(made[0])
        reading.killed = True

    async def _go_on(self, seconds: float) -> None:
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            if not self.source.down:
                self.leader.step()
            await asyncio.sleep(self.rng.choice((0.002, 0.05, 0.3)))

    async def _settle(self, reader: CopyReader) -> None:
        self.leader.trims = False  # what the copy has too much must not go by itself
        self.target.store.memory_full = False
        for network in self.networks:
            network.set_weather(Weather())
        await asyncio.sleep(4.0)  # servers that restart are back, paused processes go on
        end, late = self.loop.time() + QUIET_S, ["nothing was compared"]
        while self.loop.time() < end:
            await self._go_on(1.0)
            await asyncio.sleep(0.4)  # the last snapshots are copied
            if not (late := self._differences(reader)):
                break
        else:
            self.problems += late
        await asyncio.sleep(0.3)
        self._check_age(reader)
        for _, relay in self.relays:
            self.counts["replaced"] += sum(each.replaced for each in relay.partitions)

    def _differences(self, reader: CopyReader) -> list[str]:
        found = []
        names = [OF.deltas, *(OF.snapshots(symbol) for symbol in SYMBOLS)]
        for name in names:
            ours, theirs = (each.store.stream(name.encode()) for each in (self.target, self.source))
            assert theirs is not None
            # A promoted replica may not have been trimmed yet, so the source may begin earlier than the copy.
            count = 0 if ours is None else len(ours.ids)
            if not count or ours is None or _end_of(ours, count) != _end_of(theirs, count):
                found.append(
                    f"{name}: {ours and (ours.ids[:1], ours.ids[-1:])}, {theirs.ids[:1]}, {theirs.ids[-1:]}"
                )
        for symbol, book in self.leader.books.items():
            shown = reader.reader.shown.get(symbol)
            if shown is None or _state(shown) != _state(book) or not reader.reader.is_current(symbol):
                found.append(f"the reader's {symbol}: {shown and _state(shown)}, {_state(book)}")
        values = self.target.store.values, self.source.store.values
        keys = (KEYS.instruments, KEYS.incarnation)
        return [*found, *(key for key in keys if values[0].get(key.encode()) != values[1].get(key.encode()))]

    def _check_age(self, reader: CopyReader) -> None:
        age_s = reader.freshness.age_s(self.loop.time())
        true_s = (self.source.store.clock_us() - reader.newest_us) / 1e6
        if age_s is None or not true_s - 0.001 <= age_s <= true_s + 0.3:
            self.problems.append(f"the age is {age_s}, and should be {true_s}")
