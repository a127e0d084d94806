"""What the history of books adds to reading: CPU per broadcast read, and bytes per broadcast kept."""

import json
import subprocess
import sys
from typing import Final

from benchmarks.fanout.servers import redis_server
from benchmarks.harness import Benchmark, Contender, Metric, Run, Target
from benchmarks.machine import pin, server_core

PROGRAM: Final = "benchmarks.ingest.reading"
METRICS: Final = (
    Metric("cpu_us", "CPU per broadcast read", "µs"),
    Metric("kept_bytes", "memory per broadcast kept", "B", 0, compared=False),
)
OFF: Final = "without a history"
ON: Final = "10 s of history"
TARGETS: Final = (Target("cpu_us", ON, OFF, most=1.1),)


def run(run: Run) -> None:
    """The whole stream, read once, is a round; memory is counted in runs of their own, which are slower."""
    with redis_server() as server:
        command = [sys.executable, "-m", PROGRAM, server.url]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            said = _answer(program)
            pin(program.pid, {server_core()})
            _answer(program, "read", 0)  # the first warms up
            kept = _answer(program, "kept", 10)["bytes"]
            run.compare(
                "200 symbols × 20 a second",
                [
                    Contender(OFF, lambda: _answer(program, "read", 0)),
                    Contender(ON, lambda: {**_answer(program, "read", 10), "kept_bytes": kept}),
                ],
                METRICS,
                baseline=OFF,
                targets=TARGETS,
            )
            assert program.stdin is not None
            program.stdin.close()
    run.note(
        f"{said['entries']:,.0f} entries of {said['symbols']:,.0f} symbols, ten levels of each, read by what "
        "a gateway reads with, without clients. Memory: what Python allocates more with a history, divided "
        "by the broadcasts of its last 10 s."
    )


def _answer(program: "subprocess.Popen[str]", *command: object) -> dict[str, float]:
    """Send a line, if there is one to send; returns what the program answers."""
    assert program.stdin is not None
    assert program.stdout is not None
    if command:
        program.stdin.write(" ".join(map(str, command)) + "\n")
        program.stdin.flush()
    line = program.stdout.readline()
    if not line:
        raise RuntimeError(f"{PROGRAM} ended with {program.wait()}")
    answer: dict[str, float] = json.loads(line)
    return answer


BENCHMARK = Benchmark("history", "What the history of books adds to reading them", run, rounds=15)
