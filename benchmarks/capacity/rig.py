"""Redis, a leading ingestor, a standby, a gateway and clients, as shipped; and what they used."""

import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import redis

from benchmarks.capacity.points import Point, Readers, Size
from benchmarks.fanout.load import Kind, Load, Report
from benchmarks.fanout.programs import Program
from benchmarks.fanout.servers import Gateway, gateway_alone, redis_server, wait_until_live
from benchmarks.fanout.ticks import write_commands
from benchmarks.ingest.deployment import Deployment, deployments
from benchmarks.machine import cpu_seconds, pin, server_core
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import decode_delta, pack
from depthcast.shared.position import Position

INTERVAL_MS: Final = 10
"""Shorter than the time between ticks, so that a tick is one broadcast."""
HEARTBEAT_MS: Final = 1_000
MID: Final = 1_000_000
VARIANTS: Final = 7
SETTLE_MS: Final = 300
MOMENT_MS: Final = 300
"""How long the end of a load waits for frames that may not come, as ticks may be published together."""
POLL_S: Final = 0.005
MEMORY_CLIENTS: Final = 500
CALM_S: Final = 60.0
CALM_WINDOW_S: Final = 0.5
FORGET_S: Final = 30.0
"""Less than a gateway as shipped keeps the views that nobody reads any more."""
CALM_CORES: Final = 0.3
PROCESSES: Final = ("redis", "ingestor", "standby", "gateway")

Sample = dict[str, float]


class Paced(NamedTuple):
    """What a load did: what clients received, the entries published, and what was used, as of a sample."""

    report: Report
    published: Sequence[tuple[bytes, dict[bytes, bytes]]]
    used: Sample


class Rig:
    """The processes of one deployment, running."""

    def __init__(self, size: Size, server: EmbeddedServer, deployment: Deployment) -> None:
        self.size = size
        self.server = server
        self.deployment = deployment
        self.random = Random(size.symbols)
        self.programs: dict[str, Program] = {}
        self.gateway: Gateway

    def open(self, stack: ExitStack) -> None:
        """Start everything, and fill the books."""
        for name in ("ingestor", "standby"):
            program = stack.enter_context(self.deployment.ingestor(interval_ms=INTERVAL_MS))
            self.programs[name] = program
            if name == "ingestor":
                self.deployment.wait_for_epoch_after(0)
                self.deployment.wait_until_published(self.deployment.send(self._opening()))
        keys = self.deployment.prefix
        # Views that clients of an earlier load read would cost as if somebody still did.
        settings = {"heartbeat_ms": HEARTBEAT_MS, "stale_ms": 600_000, "channel_linger_s": 0}
        self.gateway = stack.enter_context(gateway_alone(self.server, keys, **settings))
        self.programs["gateway"] = self.gateway.program
        wait_until_live(self.gateway.port, self.size.symbols)
        self.gateway.cycle = True  # input entries may be sent again
        pin(self.server.pid, {server_core()})
        self._wait_until_calm()

    def _wait_until_calm(self) -> None:
        """Wait until the standby follows and nobody works off the opening of the books."""
        deadline = time.monotonic() + CALM_S
        while time.monotonic() < deadline:
            before = sum(self._cpu().values())
            time.sleep(CALM_WINDOW_S)
            used = sum(self._cpu().values()) - before
            if used < CALM_CORES * CALM_WINDOW_S and self._metric("standby", "following"):
                return
        raise TimeoutError(f"the processes were not calm within {CALM_S:g} s of their start")

    def _metric(self, ingestor: str, name: str) -> float:
        url = f"http://127.0.0.1:{self.programs[ingestor].said[0]}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
        except TimeoutError:
            return 0.0  # it works off something large
        found = re.search(rf"^depthcast_ingestor_{name}\S* (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def _opening(self) -> list[dict[bytes, bytes]]:
        entries = []
        for number in range(self.size.symbols):
            events = [
                [0, side, _price(side, place), 1 + place]
                for side in (0, 1)
                for place in range(self.size.levels)
            ]
            entries.append({_name(number): pack(events)})
        return entries

    def memory(self) -> Sample:
        """Memory of each process in bytes."""
        info: Any = self.deployment.client.info("memory")
        own = {name: float(self.programs[name].memory()) for name in ("ingestor", "gateway")}
        return {**own, "redis": float(info["used_memory"])}

    def measure(self, point: Point, seconds: float) -> Sample:
        """Run a load; returns CPU in µs by process, counts of work, bytes and latencies."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="depthcast-ticks-")))
            self._write_ticks(folder / "ticks", point)
            load = stack.enter_context(Load(self.gateway, self._kinds(point), folder / "ticks"))
            self._paced(load, point, max(3, round(point.rate / 2)))
            stack.enter_context(self._more_readers(point.more_readers))
            self._wait_until_forgotten(point)
            load.command("settle", SETTLE_MS)
            return self._work(point, self._paced(load, point, round(seconds * point.rate)))

    def _paced(self, load: Load, point: Point, ticks: int) -> Paced:
        """Send ticks at the rate of the point, and wait until clients have all that was published of them.

        The accounts are taken when everything has come, or nothing for a moment: ticks that were published
        together bring fewer frames. Only if more was under way than that, it is waited for, and accounted.
        """
        written, start, inputs = self._snapshots(), self._newest_id(), self._inputs()
        before = self._account(load.command("count"))
        report = load.command("pace", ticks, round(1e6 / point.rate), MOMENT_MS)
        used, snapshots = self._account(report), self._snapshots() - written
        self._wait_until_consumed(inputs + ticks * len(self._commands(b"", point)))
        found: Any = self.deployment.client.xrange(self.deployment.keys.deltas, min=b"(" + start)
        followers = _followers(point)
        wanted = sum(followers[name] for _, fields in found for name in fields)
        if report.groups[0]["samples"] < wanted:
            awaited = load.command("await", 0, wanted)
            used, report = self._account(awaited), awaited._replace(ticks=report.ticks)
            snapshots = self._snapshots() - written
        levels = snapshots * 2 * self.size.levels
        used = {name: used[name] - before[name] for name in used} | {"snapshot_level": levels}
        return Paced(report, found, used)

    def _snapshots(self) -> float:
        """Snapshots of books that were written so far."""
        return self._metric("ingestor", "snapshots_total")

    def _wait_until_forgotten(self, point: Point) -> None:
        """Wait until the gateway has views of those symbols alone that are read in this load."""
        read = set(_followers(point)) | ({_name(self.size.symbols - 1)} if point.idle else set())
        deadline = time.monotonic() + FORGET_S
        while (views := self.gateway.total("depthcast_gateway_channels")) != len(read):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gateway has {views:g} views, not {len(read)}, after {FORGET_S:g} s")
            time.sleep(POLL_S)

    def _account(self, report: Report) -> Sample:
        """What everybody has used so far, by the names of a sample; `report`: the newest of the load."""
        used = {f"cpu_{name}": used_s * 1e6 for name, used_s in self._cpu().items()}
        seconds, sent = time.perf_counter(), self._sent_bytes()
        return {**used, "cpu_clients": report.cpu_s * 1e6, "net_out": sent, "second": seconds}

    def _inputs(self) -> int:
        """Input entries so far."""
        found: Any = self.deployment.client.xinfo_stream(self.deployment.keys.events)
        return int(found["entries-added"])

    def _wait_until_consumed(self, inputs: int) -> None:
        """Wait until so many input entries have come, and what they change is published."""
        deadline = time.monotonic() + CALM_S
        while self._inputs() < inputs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all input had come within {CALM_S:g} s")
            time.sleep(POLL_S)
        newest: Any = self.deployment.client.xrevrange(self.deployment.keys.events, count=1)
        self.deployment.wait_until_published(Position.parse(newest[0][0]))

    def _cpu(self) -> dict[str, float]:
        own = {name: program.cpu_s() for name, program in self.programs.items()}
        return {**own, "redis": cpu_seconds(self.server.pid)}

    def _sent_bytes(self) -> float:
        info: Any = self.deployment.client.info("stats")
        return float(info["total_net_output_bytes"])

    def client_memory(self) -> Sample:
        """Memory of a gateway in bytes, for each connection and for each subscription of one."""
        names = [_name(number).decode() for number in range(self.size.symbols)]
        with ExitStack() as stack:
            own = stack.enter_context(gateway_alone(self.server, self.deployment.prefix, stale_ms=600_000))
            wait_until_live(own.port, self.size.symbols)
            sizes = []
            for clients, channels in ((50, 10), (MEMORY_CLIENTS, 1), (MEMORY_CLIENTS, 11)):
                kind = Kind(clients, own.subscribe(list(range(channels)), names=names), snapshots=channels)
                stack.enter_context(Load(own, [kind]))
                sizes.append(own.program.memory())
        one, eleven = ((after - before) / MEMORY_CLIENTS for before, after in pairwise(sizes))
        subscription = max(0.0, (eleven - one) / 10)
        return {"connection": one - subscription, "subscription": subscription}

    def snapshot_level_bytes(self) -> float:
        """Bytes of a level in a snapshot."""
        found: Any = self.deployment.client.xrevrange(
            self.deployment.keys.snapshots(_name(0).decode()), count=1
        )
        return float(_resp_fields(found[0][1])) / (2 * self.size.levels)

    @contextmanager
    def _more_readers(self, count: int) -> Iterator[None]:
        """So many connections that read the stream as a gateway does, and throw it away."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._read, args=(stop,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _read(self, stop: threading.Event) -> None:
        last = self._newest_id()
        with redis.Redis(port=self.server.port) as client:
            while not stop.is_set():
                found: Any = client.xread({self.deployment.keys.deltas: last}, block=200)
                if found:
                    last = found[0][1][-1][0]

    def _newest_id(self) -> bytes:
        found: Any = self.deployment.client.xrevrange(self.deployment.keys.deltas, count=1)
        newest: bytes = found[0][0]
        return newest

    def _kinds(self, point: Point) -> list[Kind]:
        names = [_name(number).decode() for number in range(self.size.symbols)]
        quiet = self.gateway.subscribe([self.size.symbols - 1], names=names)
        kinds = [Kind(point.idle, quiet, group=1, snapshots=1)] if point.idle else []
        for readers in point.readers:
            share = readers.clients // readers.lists
            for number in range(readers.lists):
                chosen = _list(readers, number, point.changed)
                messages = self.gateway.subscribe(chosen, names=names)
                kinds.append(Kind(share, messages, snapshots=len(chosen)))
        return kinds

    def _write_ticks(self, path: Path, point: Point) -> None:
        frames = sum(readers.clients * readers.channels for readers in point.readers)
        key = self.deployment.keys.events.encode()
        write_commands(
            path, [(self._commands(key, point), frames if point.changed else 0) for _ in range(VARIANTS)]
        )

    def _commands(self, key: bytes, point: Point) -> list[list[bytes]]:
        """The input entries of a tick; every tick changes the same levels to other quantities."""
        fields = []
        for number in range(point.changed):
            levels = [(place % 2, _price(place % 2, place // 2)) for place in range(point.levels)]
            events = [
                [1, side, price, self.random.randint(1, 5_000)]
                for side, price in (levels[at % len(levels)] for at in range(point.events))
            ]
            fields.append((_name(number), pack(events)))
        share = -(-len(fields) // point.entries) or 1
        parts = [fields[at : at + share] for at in range(0, len(fields), share)]
        return [[b"XADD", key, b"*", *(word for field in part for word in field)] for part in parts]

    def _work(self, point: Point, paced: Paced) -> Sample:
        """What was done: by the entries published meanwhile, and by what clients received."""
        report, found = paced.report, paced.published
        deltas = [(name, value) for _, fields in found for name, value in fields.items() if name[:1] != b"_"]
        followers = _followers(point)
        sample = [decode_delta(value) for _, value in deltas[:200]]
        levels = sum(len(delta.bids) + len(delta.asks) for delta in sample) / 2 / (len(sample) or 1)
        changing = sum(1 for _, fields in found if any(name[:1] != b"_" for name in fields))
        main, idle = report.groups[0], report.groups[1]
        writing = sum(readers.clients for readers in point.readers)
        per_tick = followers.total()
        per_join = sum(readers.lists * readers.channels for readers in point.readers)
        times = main["samples"] / per_tick if per_tick else 0.0
        inputs = (
            [command_bytes(command) for command in self._commands(b"k" * 20, point)] if point.changed else []
        )
        ticks, seconds = report.ticks, paced.used["second"]
        return {
            **paced.used,
            "symbol_second": seconds * self.size.symbols,
            "ticks": ticks,
            "input_entry": ticks * len(inputs),
            "input_bytes": ticks * float(sum(inputs)),
            "event": float(ticks * point.changed * point.events),
            "publish": len(found),
            "changing": changing,
            "stream_bytes": float(sum(_resp_fields(fields) for _, fields in found)),
            "broadcast": len(deltas),
            "level": len(deltas) * levels,
            "made": sum(1 for name, _ in deltas if followers[name]),
            "write": times * writing,
            "join": times * per_join,
            "frame": main["samples"],
            "byte": main["bytes"],
            "heartbeat": idle["frames"],
            "heartbeat_bytes": idle["bytes"],
            "connection_second": seconds * point.clients,
            "p50_us": main["p50_us"],
            "p99_us": main["p99_us"],
        }


def _name(number: int) -> bytes:
    return b"S%05d" % number


def _price(side: int, place: int) -> int:
    return MID + 1 + place if side else MID - 1 - place


def _list(readers: Readers, number: int, changed: int) -> list[int]:
    """The symbols of one list: they differ from list to list, and all of them change in each tick."""
    return sorted((number * readers.channels + at) % changed for at in range(readers.channels))


def symbols_of(readers: Readers, changed: int) -> set[int]:
    """Numbers of all symbols that they read."""
    return {symbol for number in range(readers.lists) for symbol in _list(readers, number, changed)}


def _followers(point: Point) -> Counter[bytes]:
    """How many clients read a symbol, by its name."""
    found = Counter[bytes]()
    for readers in point.readers:
        for number in range(readers.lists):
            for symbol in _list(readers, number, point.changed):
                found[_name(symbol)] += readers.clients // readers.lists
    return found


def command_bytes(words: Sequence[bytes]) -> int:
    """Bytes of a command in Redis's protocol."""
    return 3 + len(str(len(words))) + sum(len(word) + len(str(len(word))) + 5 for word in words)


def _resp_fields(fields: dict[bytes, bytes]) -> int:
    """Bytes of a stream entry in an answer of Redis, its ID included."""
    return 45 + command_bytes([word for field in fields.items() for word in field])


@contextmanager
def rig(size: Size) -> Iterator[Rig]:
    """A deployment of that size, running, its books filled."""
    text = "".join(f'["{_name(number).decode()}"]\n' for number in range(size.symbols))
    with (
        redis_server() as server,
        deployments(server, {size.name: text}) as found,
        ExitStack() as stack,
    ):
        made = Rig(size, server, found[size.name])
        made.open(stack)
        yield made
