"""One attack on one gateway worker: starts all processes, and keeps what was seen and what it cost. Linux."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import MappingProxyType, TracebackType
from typing import Final, NamedTuple, Self

import orjson

from benchmarks.fanout.programs import Program, python_module
from benchmarks.fanout.servers import READY_PATTERN, wait_until_live
from benchmarks.machine import CORES, cpu_seconds, load_cores, pin
from depthcast.runtime.embedded import EmbeddedServer
from tests.attack.catalog import Attack
from tests.attack.wire import Outcome
from tests.waiting import eventually_sync

PREFIX: Final = "attack"
SAMPLE_S: Final = 0.1
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
DEFAULTS: Final[Mapping[str, object]] = MappingProxyType({})
SETTINGS: Final[dict[str, object]] = {"channel_linger_s": 5, "log_level": "error"}
"""Of the gateway, beside the defaults: views that nobody wants are dropped soon, so that memory is."""
WARM_UP_S: Final = 4.0
"""Until most books have moved once."""
ATTACKER_S: Final = 30.0
"""An attacker's process that is not done so long after its time is killed."""
PREFERRED: Final = -10
"""Priority of what is measured, where this process may give it: other work on the machine matters less."""


class Sample(NamedTuple):
    """A gateway's process at one moment."""

    at: float
    rss: int
    cpu_s: float
    descriptors: int


class Seen(NamedTuple):
    """One line of a witness."""

    at: float
    name: str
    what: str
    value: float


@dataclass
class Run:
    """What was measured in one attack; times by the clock that all processes share."""

    attack: Attack
    calm: tuple[float, float] = (0.0, 0.0)
    attacked: tuple[float, float] = (0.0, 0.0)
    end: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    beside: list[Sample] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)
    ended: int | None = None

    def silence_ms(self, name: str, begin: float, end: float) -> float:
        """The longest time without a message among those that lie in this time at least in part."""
        at = [line.at for line in self.seen if line.name == name and line.what == "book"]
        edges = [*at, self.end]
        gaps = [
            later - max(earlier, begin)
            for earlier, later in itertools.pairwise(edges)
            if earlier <= end and later > begin
        ]
        return max(gaps, default=self.end - begin) * 1e3

    def latency_ms(self, begin: float, end: float) -> float:
        """The median age of what the good client received."""
        ages = [line.value for line in self._of("good", "book", begin, end)]
        return median(ages) if ages else float("inf")

    def lost(self) -> list[int]:
        """Close codes that the good client got."""
        return [round(line.value) for line in self._of("good", "lost", 0, self.end)]

    def knocks(self) -> tuple[float, int]:
        """The longest time that somebody new waited for an HTTP answer meanwhile; how often in vain."""
        begin, end = self.attacked
        waits = [line.value for line in self._of("new", "knock", begin, end)]
        return max(waits, default=0.0), len(self._of("new", "shut", begin, end))

    def rss(self, begin: float, end: float) -> int:
        """The most memory in this time."""
        return max((sample.rss for sample in self.samples if begin <= sample.at <= end), default=0)

    def cpu(self, begin: float, end: float) -> float:
        """The share of a core in this time."""
        return _share(self.samples, begin, end)

    def cpu_beside(self, begin: float, end: float) -> float:
        """The share of a core that the gateway beside, which nobody attacks, took in this time."""
        return _share(self.beside, begin, end)

    def _of(self, name: str, what: str, begin: float, end: float) -> list[Seen]:
        return [
            line for line in self.seen if line.name == name and line.what == what and begin <= line.at <= end
        ]


def _share(samples: Sequence[Sample], begin: float, end: float) -> float:
    within = [sample for sample in samples if begin <= sample.at <= end]
    if len(within) < 2:
        return 0.0
    return (within[-1].cpu_s - within[0].cpu_s) / (within[-1].at - within[0].at)


class Sampler:
    """Takes samples of a process in a thread, within a `with` block."""

    def __init__(self, pid: int, samples: list[Sample]) -> None:
        self.pid = pid
        self.samples = samples
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            with contextlib.suppress(OSError):
                self.samples.append(sample(self.pid))


def sample(pid: int) -> Sample:
    """Memory, CPU time and descriptors of a process now; raises `OSError` if it has ended."""
    rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(time.monotonic(), rss, cpu_seconds(pid), descriptors)


class Witness:
    """The process with the good clients; `seen` grows while it runs."""

    def __init__(self, ports: dict[str, int], seen: list[Seen]) -> None:
        self.seen = seen
        words = [f"{name}={port}" for name, port in ports.items()]
        self._process = module("witness", *words)
        prefer(self._process.pid)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process; everything it said is in `seen` then."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, name, what, value = line.split()
            self.seen.append(Seen(float(at), name.decode(), what.decode(), float(value)))


class Stage:
    """Server, publisher and the gateway that nobody attacks, for any number of attacks in turn.

    `alone`: without the gateway beside. `preferred`: all go before other work of the machine.
    """

    def __init__(self, symbols: int, *, alone: bool = False, preferred: bool = True) -> None:
        self.symbols = symbols
        self.alone = alone
        self.preferred = preferred
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.server = self._stack.enter_context(EmbeddedServer())
            pin(self.server.pid, load_cores())
            self._prefer(self.server.pid)
            self._publisher = module("publisher", str(self.server.port), PREFIX, str(self.symbols), talk=True)
            self._stack.callback(end, self._publisher)
            self._prefer(self._publisher.pid)
            self._hear("begun")
            if not self.alone:
                beside = self._stack.enter_context(self.gateway())
                pin(beside.pid, load_cores())
                self.beside, self.beside_pid = int(beside.said[0]), beside.pid
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def gateway(
        self, settings: Mapping[str, object] = DEFAULTS, descriptors: int | None = None
    ) -> Iterator[Program]:
        """A gateway worker with its defaults, live; `descriptors`: its limit of open files."""
        self.refresh()
        common = {"redis_url": self.server.url, "prefix": PREFIX, "port": 0}
        command: Sequence[str] = python_module("gateway", **(common | SETTINGS | dict(settings)))
        if descriptors:
            command = ["/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        with Program("gateway", list(command), READY_PATTERN) as program:
            self._prefer(program.pid)
            pin(program.pid, CORES)
            wait_until_live(int(program.said[0]), self.symbols + 1)
            yield program

    def refresh(self) -> None:
        """Have the snapshots written as the books are now."""
        assert self._publisher.stdin is not None
        self._publisher.stdin.write(b"snapshots\n")
        self._publisher.stdin.flush()
        self._hear("written")

    def _prefer(self, pid: int) -> None:
        if self.preferred:
            prefer(pid)

    def _hear(self, word: str) -> None:
        assert self._publisher.stdout is not None
        line = self._publisher.stdout.readline().decode().strip()
        assert line == word, f"the publisher said {line!r} for {word!r}"


def module(name: str, *words: str, talk: bool = False) -> "subprocess.Popen[bytes]":
    """Start a module of this folder as a process on the cores of the load."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.attack.{name}", *words],
        stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    pin(process.pid, load_cores())
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process at once."""
    process.kill()
    process.communicate()


def prefer(pid: int) -> None:
    """Let a process, and Linux's group of its session, go before other work of the machine, where allowed."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(PREFERRED))
    with contextlib.suppress(PermissionError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), PREFERRED)


def attacker(name: str, port: int, seconds: float, symbols: int, *more: str) -> "subprocess.Popen[bytes]":
    """Start an attack."""
    return module("attacker", name, str(port), str(seconds), str(symbols), *more)


def attacked_by(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[float, Outcome]:
    """When an attack began and what the attacker got; returns when its process is gone."""
    assert process.stdout is not None
    began = float(process.stdout.readline())
    try:
        process.wait(seconds + ATTACKER_S)
    except subprocess.TimeoutExpired:
        end(process)
        return began, Outcome({"attacker killed": 1})
    with process.stdout:  # `communicate` would miss what `readline` has taken beside its line
        rest = process.stdout.read()
    return began, Outcome(orjson.loads(rest)) if rest.strip() else Outcome({"attacker failed": 1})


def perform(
    stage: Stage, attack: Attack, *, seconds: float, calm_s: float, after_s: float, settle_s: float
) -> Run:
    """Run one attack on a new gateway. After `after_s`, wait up to `settle_s` more until it has recovered."""
    run, seconds = Run(attack), attack.seconds or seconds
    with (
        stage.gateway(descriptors=attack.descriptors) as gateway,
        Sampler(gateway.pid, run.samples),
        Sampler(stage.beside_pid, run.beside),
    ):
        witness = Witness({"good": int(gateway.said[0]), "beside": stage.beside}, run.seen)
        try:
            for name in ("good", "beside"):
                eventually_sync(lambda name=name: any(line.name == name for line in run.seen))  # type: ignore[misc]
            time.sleep(WARM_UP_S)
            begin = time.monotonic()
            time.sleep(calm_s)
            run.calm = begin, time.monotonic()
            process = attacker(attack.name, int(gateway.said[0]), seconds, stage.symbols)
            began, run.outcome = attacked_by(process, seconds)
            run.attacked = began, time.monotonic()
            run.end = time.monotonic()
            time.sleep(after_s)
            deadline = time.monotonic() + settle_s
            run.end = time.monotonic()
            while time.monotonic() < deadline and gateway.status is None and not recovered(run):
                time.sleep(SAMPLE_S)
                run.end = time.monotonic()
            run.ended = gateway.status
        finally:
            witness.close()
    return run


def recovered(run: Run) -> bool:
    """Whether memory, descriptors, CPU and the good client's messages are what they were."""
    from tests.attack.verdict import left_behind

    return not left_behind(run)
