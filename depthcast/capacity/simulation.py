"""A seeded simulation of one machine: Redis, an ingestor, a standby, a gateway and its clients as queues.

Every job costs what was measured for its kind; what jobs wait for each other, merge or come together follows
from the queues. Two runs with equal seeds are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from depthcast.capacity.cores import Action, Cores
from depthcast.capacity.costs import UnitCosts

REDIS, INGESTOR, STANDBY, GATEWAY, CLIENTS = "redis", "ingestor", "standby", "gateway", "clients"
PROCESSES: Final = (REDIS, INGESTOR, STANDBY, GATEWAY, CLIENTS)
US: Final = 1e-6
NOISE_SHAPE: Final = 25.0
"""Of the gamma distribution that a job's cost is multiplied by: it varies by a fifth."""
HOUSEKEEPING_S: Final = 0.05
CHUNK: Final = 10
"""Writes to clients that are one job."""
STAMPED: Final = 0.5
"""Share of the work of a publish that is done when the time of its messages is taken."""


@dataclass(frozen=True)
class Reading:
    """So many clients, each of `channels` of the symbols that change, in `lists` different lists."""

    clients: int
    channels: int
    lists: int = 1


@dataclass(frozen=True)
class Scenario:
    """The load of one machine.

    Args:
        symbols: Books there are.
        book_levels: Levels of a book per side.
        changed: Symbols that change in a tick.
        events: Level events of each of them.
        levels: Levels that they change.
        input_entries: Entries in which a tick's events come.
        ticks_per_s: Ticks a second, at equal distances.
        made: Symbols of those that change which somebody reads.
        readings: Clients.
        idle: Clients of a symbol that does not change.
        heartbeat_s: Time between their heartbeats.
        interval_s: Broadcast interval.
        snapshots_per_s: Snapshots of books a second.
        more_readers: Readers of the stream beside the gateway and the standby.
        cores: Core of each process.
    """

    symbols: int
    book_levels: int
    changed: int
    events: float
    levels: float
    input_entries: int
    ticks_per_s: float
    made: int
    readings: Sequence[Reading]
    idle: int
    heartbeat_s: float
    interval_s: float
    snapshots_per_s: float
    more_readers: int = 0
    cores: tuple[int, int, int, int, int] = (0, 0, 0, 0, 1)


@dataclass
class Outcome:
    """CPU by process in cores, latencies in µs from the broadcast to the client, and counts."""

    cores: dict[str, float]
    latencies_us: list[float] = field(default_factory=list)
    entries: int = 0
    deliveries: int = 0
    merged_ticks: int = 0

    def quantile_us(self, share: float) -> float:
        """Latency that so many of the deliveries do not exceed; 0 without any."""
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass
class _Entry:
    """A published entry: its symbols, and when its messages are stamped."""

    broadcasts: float
    made: float
    stamped: float


class _Machine:
    def __init__(self, scenario: Scenario, costs: UnitCosts, random: Random) -> None:
        self.scenario = scenario
        self.costs = costs
        self.random = random
        self.cores = Cores(dict(zip(PROCESSES, scenario.cores, strict=True)))
        self.outcome = Outcome({})
        self.input: list[float] = []
        self.dirty = 0.0
        self.last_publish = -scenario.interval_s
        self.publish_planned = False
        self.entries: list[_Entry] = []
        self.reading_input = False
        self.gateway_works = False

    def job(self, process: str, cpu_us: float, done: Action) -> None:
        """A job whose cost varies; then `done` after the delay of a hand-over."""
        noise = self.random.gammavariate(NOISE_SHAPE, 1 / NOISE_SHAPE)
        self.cores.run(process, cpu_us * noise * US, done)

    def hop(self, action: Action) -> None:
        """Hand over to another process."""
        self.cores.at(self.cores.now + self.costs.latency.hop * US, action)

    # --- input ---

    def tick(self) -> None:
        scenario, redis = self.scenario, self.costs.redis
        size = self.costs.bytes
        events = scenario.changed * scenario.events / scenario.input_entries
        data = size.input_entry + size.event * events
        for _ in range(scenario.input_entries if scenario.changed else 0):
            cost = redis.append + data * (redis.byte_in + redis.byte_out)
            self.job(REDIS, cost, lambda: self.hop(lambda: self.receive_input(events)))

    def receive_input(self, events: float) -> None:
        self.input.append(events)
        self.consume()

    def consume(self) -> None:
        if self.reading_input or not self.input:
            return
        self.reading_input = True
        batch, self.input = self.input, []
        cpu = self.costs.ingestor

        def done() -> None:
            self.reading_input = False
            self.dirty += len(batch) / self.scenario.input_entries * self.scenario.changed
            self.plan_publish()
            self.consume()

        self.job(INGESTOR, len(batch) * cpu.entry + sum(batch) * cpu.event, done)

    # --- publishing ---

    def plan_publish(self) -> None:
        if self.publish_planned or self.dirty == 0:
            return
        self.publish_planned = True
        self.cores.at(self.last_publish + self.scenario.interval_s, self.publish)

    def publish(self) -> None:
        scenario, cpu = self.scenario, self.costs.ingestor
        broadcasts, self.dirty = min(self.dirty, float(scenario.changed)), 0.0
        self.last_publish = self.cores.now
        entry = _Entry(broadcasts, scenario.made * broadcasts / scenario.changed, 0.0)
        work = broadcasts * (cpu.broadcast + scenario.levels * cpu.level) + cpu.publish

        def drained() -> None:
            entry.stamped = self.cores.now
            self.job(INGESTOR, work * (1 - STAMPED), lambda: self.hop(lambda: self.append(entry)))

        self.job(INGESTOR, work * STAMPED, drained)

    def append(self, entry: _Entry) -> None:
        redis, size = self.costs.redis, self.costs.bytes
        data = size.entry + entry.broadcasts * (size.broadcast + self.scenario.levels * size.level)
        read = redis.read + data * redis.byte_out

        def appended() -> None:
            self.publish_planned = False
            self.plan_publish()
            self.outcome.entries += 1
            self.job(REDIS, read, lambda: self.hop(lambda: self.receive_entry(entry)))
            self.job(REDIS, read, lambda: self.hop(lambda: self.follow(entry)))
            for _ in range(self.scenario.more_readers):
                self.job(REDIS, read, _nothing)

        written = redis.publish + entry.broadcasts * redis.broadcast + data * redis.byte_in
        self.job(REDIS, written, appended)

    def follow(self, entry: _Entry) -> None:
        cpu = self.costs.standby
        each = cpu.broadcast + self.scenario.levels * cpu.level
        self.job(STANDBY, cpu.entry + entry.broadcasts * each, _nothing)

    # --- the gateway ---

    def receive_entry(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.serve()

    def serve(self) -> None:
        if self.gateway_works or not self.entries:
            return
        self.gateway_works = True
        batch, self.entries = self.entries, []
        self.outcome.merged_ticks += len(batch) > 1
        cpu = self.costs.gateway
        each = cpu.broadcast + self.scenario.levels * cpu.level
        work = sum(cpu.entry + entry.broadcasts * each + entry.made * cpu.made for entry in batch)
        self.job(GATEWAY, work, lambda: self.flush(batch))

    def flush(self, batch: list[_Entry]) -> None:
        """Write to every client; the frames of a list are joined once, of all entries of the batch."""
        cpu, size, levels = self.costs.gateway, self.costs.bytes, self.scenario.levels
        for reading in self.scenario.readings:
            frames = reading.channels * len(batch)
            each = cpu.write + frames * (size.frame + levels * size.frame_level) * cpu.byte
            join = frames * cpu.join * reading.lists / reading.clients
            for start in range(0, reading.clients, CHUNK):
                count = min(CHUNK, reading.clients - start)
                self.job(GATEWAY, count * (each + join), self._delivery(batch, count, reading.channels))
        self.cores.run(GATEWAY, 0.0, self.flushed)

    def _delivery(self, batch: list[_Entry], count: int, channels: int) -> Action:
        cpu = self.costs.clients
        work = count * (cpu.read + channels * len(batch) * cpu.frame)

        def received() -> None:
            for entry in batch:
                self.outcome.deliveries += count * channels
                late = (self.cores.now - entry.stamped) / US
                self.outcome.latencies_us += [late] * (count * channels)

        return lambda: self.hop(lambda: self.job(CLIENTS, work, received))

    def flushed(self) -> None:
        self.gateway_works = False
        self.serve()

    # --- what is done without input ---

    def housekeep(self) -> None:
        costs, scenario, part = self.costs, self.scenario, HOUSEKEEPING_S
        levels = scenario.snapshots_per_s * 2 * scenario.book_levels
        readers = sum(reading.clients for reading in scenario.readings)
        catalog = 3 * scenario.symbols * costs.bytes.catalog_symbol
        heartbeats = scenario.idle / scenario.heartbeat_s
        of = {
            REDIS: costs.redis.second
            + catalog * costs.redis.byte_out
            + levels * costs.bytes.snapshot_level * costs.redis.byte_in,
            INGESTOR: costs.ingestor.second
            + scenario.symbols * costs.ingestor.symbol_second
            + levels * costs.ingestor.snapshot_level,
            STANDBY: costs.standby.second + scenario.symbols * costs.standby.symbol_second,
            GATEWAY: costs.gateway.second
            + scenario.symbols * costs.gateway.symbol_second
            + heartbeats * (costs.gateway.heartbeat + costs.bytes.heartbeat * costs.gateway.byte)
            + (readers + scenario.idle) * costs.gateway.connection_second,
            CLIENTS: costs.clients.second + heartbeats * costs.clients.read,
        }
        for process, cpu_us in of.items():
            self.job(process, cpu_us * part, _nothing)
        self.cores.at(self.cores.now + part, self.housekeep)


def simulate(scenario: Scenario, costs: UnitCosts, seconds: float, seed: int) -> Outcome:
    """Run the machine for so many virtual seconds."""
    random = Random(seed)  # noqa: S311 - a seeded simulation is to be repeated
    machine = _Machine(scenario, costs, random)
    machine.cores.at(random.random() * HOUSEKEEPING_S, machine.housekeep)
    number = 0
    while (time := number / scenario.ticks_per_s) < seconds:
        machine.cores.at(time, machine.tick)
        number += 1
    machine.cores.advance(seconds)
    machine.outcome.cores = {name: used / seconds for name, used in machine.cores.used.items()}
    return machine.outcome


def _nothing() -> None:
    """Do nothing when a job is done."""
