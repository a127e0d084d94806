"""Gateways that follow what is asked for: very many listed symbols of which few are asked for, and workers.

The workers share one core, and the next tick comes when all clients have the one before: so only the time
that they use counts, not what they would reach.
"""

import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import redis
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from benchmarks.fanout.contest import WARM_UP_TICKS, kinds_of
from benchmarks.fanout.load import Load
from benchmarks.fanout.market import Market, now_us
from benchmarks.fanout.servers import (
    QUIET_MS,
    Gateway,
    gateway,
    gateway_alone,
    redis_server,
    wait_until_ready,
)
from benchmarks.fanout.ticks import entries_as_commands, write_ticks
from benchmarks.harness import SEED, Absent, Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import WRITTEN_FIELD
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.types import Symbol

LISTED: Final = 100_000
ASKED: Final = 1_000
OTHERS: Final = 4_000
"""Symbols that nobody asks for and that change as often, where others change."""
PARTITIONS: Final = 16
RATE: Final = 4
SECONDS: Final = 5
WAIT_S: Final = 60.0

SYMBOLS: Final = 2_000
CHANNELS: Final = 10
CLIENTS: Final = 1_000
TICKS: Final = 10
WORKERS: Final = 4

READY = Metric("ready_s", "start to ready", "s")
TAKEN_UP = Metric("books_s", "subscription to last snapshot", "s")
MEMORY = Metric("mib", "memory", "MiB", digits=0)
CORES = Metric("cores", "cores", "", digits=3)
CPU = Metric("cpu_ms", "CPU of all workers for a tick", "ms", digits=1)

FEW, MANY, BUSY, ALL = (
    "1,000 listed",
    "100,000 listed",
    "100,000 listed, others change",
    "all, 100,000 listed",
)


def run(run: Run) -> None:
    """What few symbols among many cost, then what workers cost."""
    few_of_many(run)
    workers(run)


# --- few of many --------------------------------------------------------------------------------------------


def few_of_many(run: Run) -> None:
    """A new gateway for each round."""
    listed = LISTED // 10 if run.quick else LISTED
    with redis_server() as server, ExitStack() as stack:
        few = Deployed(server, "few", ASKED, 0)
        many = Deployed(server, "many", listed, 0)
        busy = Deployed(server, "busy", listed, OTHERS)
        contenders = [
            Contender(name, partial(one_start, server, deployed, follow))
            for name, deployed, follow in (
                (FEW, few, "asked"),
                (MANY, many, "asked"),
                (BUSY, busy, "asked"),
                (ALL, many, "all"),
            )
        ]
        stack.callback(few.client.close)
        targets = [Target(metric, MANY, FEW, most=1.3) for metric in ("mib", "cores")]
        title = f"{ASKED:,} of {listed:,} symbols"
        run.compare(title, contenders, [READY, TAKEN_UP, MEMORY, CORES], baseline=FEW, targets=targets)
    run.note(
        f"Each symbol that is asked for changes {RATE} times a second; in “others change”, {OTHERS:,} more. "
        "Memory and CPU after one client has subscribed to what is asked for."
    )


class Deployed:
    """What an ingestor would have left of so many symbols; `others` of those not asked for change, too."""

    def __init__(self, server: EmbeddedServer, prefix: str, listed: int, others: int) -> None:
        self.keys = DeploymentKeys(prefix)
        self.market = Market(ASKED + others, PARTITIONS, messages=False)
        self.asked = self.market.symbols[:ASKED]
        self.port = server.port
        self.client = redis.Redis(port=server.port)
        self.client.hset(self.keys.meta, mapping={"protocol": 1, "partitions": PARTITIONS})
        quiet = [f"Q{number:06}" for number in range(listed - ASKED - others)]
        value = to_json(Instrument(Symbol("ANY"), "0.01", "0.001"))
        with self.client.pipeline(transaction=False) as pipeline:
            names = [*self.market.symbols, *quiet]
            for first in range(0, len(names), 10_000):
                pipeline.hset(
                    self.keys.instruments, mapping=dict.fromkeys(names[first : first + 10_000], value)
                )
            for number, (position, fields) in self.market.opening().items():
                written = WRITTEN_FIELD, b"%d" % now_us()
                deltas = self.keys.partition(number).deltas
                pipeline.xadd(deltas, dict([*fields, written]), id=str(position))
            snapshots = self.market.snapshots()
            any_snapshot = snapshots[self.asked[0]]
            for symbol in names:
                number = partition_of(symbol, PARTITIONS)
                key = self.keys.partition(number).snapshots(symbol)
                data = snapshots.get(symbol, any_snapshot)
                pipeline.xadd(key, {"s": data}, id=str(self.market.positions[number]))
                if len(pipeline) >= 10_000:
                    pipeline.execute()
            pipeline.execute()

    def ticks(self, count: int) -> list[bytes]:
        """Commands that publish so many ticks."""
        return [entries_as_commands(self.keys, self.market.tick())[0] for _ in range(count)]

    def snapshot(self) -> None:
        """New snapshots of everything that changes, and entries that say when they were written."""
        with self.client.pipeline(transaction=False) as pipeline:
            for number, (position, fields) in self.market.beat().items():
                written = WRITTEN_FIELD, b"%d" % now_us()
                pipeline.xadd(self.keys.partition(number).deltas, dict([*fields, written]), id=str(position))
            for symbol, data in self.market.snapshots().items():
                number = self.market.partition_of(symbol)
                key = self.keys.partition(number).snapshots(symbol)
                pipeline.delete(key)
                pipeline.xadd(key, {"s": data}, id=str(self.market.positions[number]))
            pipeline.execute()


def one_start(server: EmbeddedServer, deployed: Deployed, follow: str) -> Measurement:
    """Start a gateway, subscribe to what is asked for, and publish for a while."""
    deployed.snapshot()
    ticks = deployed.ticks(RATE * SECONDS)
    settings = {
        "stale_ms": QUIET_MS,
        "subscriptions_max": ASKED,
        "message_bytes_max": 1 << 20,
        "follow": follow,
    }
    began = time.monotonic()
    with gateway_alone(server, deployed.keys.prefix, **settings) as ours:
        wait_until_ready(ours.port)
        found = {"ready_s": time.monotonic() - began}
        with (
            reader(ours, deployed.asked) as books_s,
            socket.create_connection(("127.0.0.1", deployed.port)) as out,
        ):
            found["books_s"] = books_s
            before, began = ours.program.cpu_s(), time.monotonic()
            for number, tick in enumerate(ticks):
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                publish(out, tick)
            time.sleep(max(0.0, began + SECONDS - time.monotonic()))
            found["cores"] = (ours.program.cpu_s() - before) / (time.monotonic() - began)
            found["mib"] = ours.program.memory() / 2**20
    return found


def publish(out: socket.socket, commands: bytes) -> None:
    """Send the commands of a tick, one for each partition, and read the replies."""
    out.sendall(commands)
    replies = b""
    while replies.count(b"\r\n") < 2 * PARTITIONS:
        replies += out.recv(65_536)
    if b"-ERR" in replies:
        raise Absent(f"the server refused a tick: {replies[:100]!r}")


@contextmanager
def reader(ours: Gateway, symbols: Sequence[str]) -> Iterator[float]:
    """A client of these symbols that reads all the time; yields how long it waited for its books."""
    with connect(
        f"ws://127.0.0.1:{ours.port}/v1/ws", subprotocols=[Subprotocol("depthcast.v1.json")], max_size=None
    ) as client:
        began = time.monotonic()
        client.send(orjson.dumps({"op": "subscribe", "symbols": list(symbols), "depth": 10}).decode())
        waits = set(symbols)
        while waits:
            message = orjson.loads(client.recv(timeout=WAIT_S))
            if message["type"] == "snapshot":
                waits.discard(message["symbol"])
            elif message["type"] == "error":
                raise Absent(str(message))
        took_s = time.monotonic() - began

        def read() -> None:
            with suppress(Exception):  # it ends with the connection
                while True:
                    client.recv()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield took_s
    thread.join()


# --- workers ------------------------------------------------------------------------------------------------


def workers(run: Run) -> None:
    """The same clients at one worker and at several, which follow everything or what is asked for."""
    market = Market(SYMBOLS, PARTITIONS, messages=False)
    chance = random.Random(SEED)
    lists = [sorted(chance.sample(range(SYMBOLS), CHANNELS)) for _ in range(CLIENTS)]
    made = {f"{count} × {follow}": (count, follow) for count in (1, WORKERS) for follow in ("all", "asked")}
    with redis_server() as server, ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="depthcast-ticks-")))
        servers = {
            name: stack.enter_context(
                gateway(server, market, f"{follow}-{count}", workers=count, follow=follow)
            )
            for name, (count, follow) in made.items()
        }
        ticks = [market.tick() for _ in range(WARM_UP_TICKS + run.rounds * TICKS)]
        contenders = []
        for name, ours in servers.items():
            file = folder / ours.keys.prefix
            write_ticks(file, market, ticks, lists, ours.encode(market))
            load = stack.enter_context(Load(ours, kinds_of(ours, lists), file))
            load.command("settle", 1000)
            load.command("run", WARM_UP_TICKS)
            contenders.append(Contender(name, partial(one_run, load)))
        one = "1 × asked"
        targets = [Target("cpu_ms", f"{WORKERS} × asked", one, most=1.3)]
        title = f"{CLIENTS:,} clients × {CHANNELS} of {SYMBOLS:,} symbols, by workers"
        run.compare(title, contenders, [CPU], baseline=one, targets=targets)
    run.note("Every client asks for other symbols, so each of several workers follows most of them.")


def one_run(load: Load) -> Measurement:
    """Closed loop; the time of all workers for a tick."""
    before = load.server.program.cpu_s()
    report = load.command("run", TICKS)
    if not report.complete:
        raise Absent(f"stuck after {report.ticks} ticks")
    return {"cpu_ms": (load.server.program.cpu_s() - before) / TICKS * 1e3}


BENCHMARK = Benchmark("followed", "Following what is asked for", run, rounds=5, quick_rounds=1)
