"""2,000 symbols, 20 broadcasts a second, 10 levels each: cost of publishing, and of reading and applying."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.fanout.servers import gateway_alone, redis_server, wait_until_live
from benchmarks.harness import Absent, Benchmark, Metric, Run, Target
from benchmarks.ingest.publishing import SYMBOLS
from benchmarks.machine import load_cores, pin
from depthcast.runtime.embedded import EmbeddedServer

PREFIX: Final = "bench"
SETTLE_S: Final = 0.3
METRICS: Final = (Metric("cores", "CPU", "cores"),)
PUBLISHING: Final = "publishing"
GATEWAY: Final = "gateway, reading and applying"
TARGETS: Final = (Target("cores", PUBLISHING, most=0.35), Target("cores", GATEWAY, most=0.6))


def run(run: Run) -> None:
    """A second of broadcasts is a round; the gateway, which has no clients, is accounted for as a process."""
    samples: dict[str, dict[str, list[float]]] = {PUBLISHING: {"cores": []}, GATEWAY: {"cores": []}}
    with (
        redis_server() as server,
        publisher(server) as publishing,
        gateway_alone(server, PREFIX) as gateway,
    ):
        wait_until_live(gateway.port, len(SYMBOLS))
        assert publishing.stdin is not None
        assert publishing.stdout is not None
        for number in range(run.rounds + 1):
            used = gateway.program.cpu_s()
            publishing.stdin.write("go\n")
            publishing.stdin.flush()
            cores = float(publishing.stdout.readline())
            time.sleep(SETTLE_S)  # the gateway reads the last of it
            if number:  # the first warms up
                samples[PUBLISHING]["cores"].append(cores)
                samples[GATEWAY]["cores"].append(gateway.program.cpu_s() - used)
        counters = gateway.metrics()
    problems = sum(
        value
        for name, value in counters.items()
        if "_total" in name and ("gaps" in name or "mismatch" in name)
    )
    run.record("2,000 symbols × 20 a second", samples, METRICS, targets=TARGETS)
    run.note(
        "Ten levels of each symbol change in each broadcast, 400,000 a second. "
        f"Gaps and mismatches: {problems:g}."
    )


@contextmanager
def publisher(server: EmbeddedServer) -> Iterator["subprocess.Popen[str]"]:
    """The program of `benchmarks.ingest.publishing`, on the load's cores; the gateway has its own core."""
    command = [sys.executable, "-m", "benchmarks.ingest.publishing", server.url, PREFIX]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise Absent("the publisher did not start")
            pin(process.pid, load_cores())
            yield process
        finally:
            process.stdin.close()


BENCHMARK = Benchmark("interval", "2,000 symbols, 20 broadcasts a second", run, rounds=9, quick_rounds=3)
