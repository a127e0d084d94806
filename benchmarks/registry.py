"""All benchmarks by name, in the order in which they run; a module is imported when its benchmark is run."""

from importlib import import_module
from typing import Final

from benchmarks.harness import Benchmark

MODULES: Final = {
    "one-channel": "benchmarks.fanout.one_channel",
    "ten-channels": "benchmarks.fanout.ten_channels",
    "own-lists": "benchmarks.fanout.own_lists",
    "submission": "benchmarks.fanout.submission",
    "paced": "benchmarks.fanout.paced",
    "grouped": "benchmarks.fanout.grouped",
    "scaling": "benchmarks.fanout.scaling",
    "stalled": "benchmarks.fanout.stalled",
    "throttled": "benchmarks.fanout.throttled",
    "storm": "benchmarks.fanout.storm",
    "versions": "benchmarks.fanout.versions",
    "idle": "benchmarks.fanout.idle",
    "tokens": "benchmarks.fanout.tokens",
    "compression": "benchmarks.fanout.compression",
    "followed": "benchmarks.fanout.followed",
    "stages": "benchmarks.fanout.stages",
    "tls": "benchmarks.fanout.tls",
    "recorded": "benchmarks.fanout.recorded",
    "takeover": "benchmarks.recovery.takeover",
    "succession": "benchmarks.recovery.succession",
    "catalog": "benchmarks.recovery.catalog",
    "books": "benchmarks.books.events",
    "ingest": "benchmarks.ingest.pipeline",
    "latency": "benchmarks.ingest.latency",
    "interval": "benchmarks.ingest.interval",
    "history": "benchmarks.ingest.history",
    "recovery": "benchmarks.ingest.recovery",
    "capacity": "benchmarks.capacity.measure",
}


def load(name: str) -> Benchmark:
    """The benchmark of that name; raises `KeyError`."""
    benchmark = import_module(MODULES[name]).BENCHMARK
    assert isinstance(benchmark, Benchmark)
    return benchmark
