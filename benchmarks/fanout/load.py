"""The load: many clients of one server, in a C program that reads, counts and triggers ticks."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from benchmarks.fanout.servers import Server, write_kinds
from benchmarks.harness import Absent
from benchmarks.machine import load_cores, pin, server_core, softirq_seconds
from benchmarks.native import program

END_S: Final = 10.0

STUCK_MS: Final = 15_000
"""So long nothing comes before the load gives a group up."""


class Kind(NamedTuple):
    """So many clients alike: the group they are counted in, and what they send after the handshake.

    `snapshots`: frames with a time that each is sent for it, for which a load waits before its first command.
    """

    clients: int
    messages: Sequence[str]
    group: int = 0
    extensions: str = "-"
    subprotocol: str = "-"
    snapshots: int = 0


class Report(NamedTuple):
    """Result of a command of the load. `groups`: frames, bytes and latency in µs of each group of clients."""

    seconds: float
    complete: bool
    ticks: int
    frames: int
    cpu_s: float
    groups: list[dict[str, float]]


class Load:
    """Connected clients, used with `with`; `ticks` is a file of `benchmarks.fanout.ticks`, None for none."""

    def __init__(self, server: Server, kinds: Sequence[Kind], ticks: Path | None = None) -> None:
        self.server = server
        self.kinds = kinds
        self.ticks = ticks
        self.clients = sum(kind.clients for kind in kinds)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="depthcast-load-")
        folder = Path(self._folder.name)
        server = self.server
        write_kinds(
            folder / "kinds",
            [
                (kind.clients, kind.group, kind.subprotocol, kind.extensions, kind.messages)
                for kind in self.kinds
            ],
            server.counted,
        )
        (folder / "none").touch()
        words = [server.port, server.path, folder / "kinds", self.ticks or folder / "none"]
        words += [server.trigger_port if self.ticks else 0, int(server.cycle)]
        words.append(server.greeting.hex() or "-")
        self._process = subprocess.Popen(
            [program("drain"), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        pin(self._process.pid, load_cores())
        self.connected = self._answer()
        for group in sorted({kind.group for kind in self.kinds}):
            snapshots = sum(kind.clients * kind.snapshots for kind in self.kinds if kind.group == group)
            if snapshots:
                self.connected = self.command("await", group, snapshots)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    def command(self, *words: object) -> Report:
        """Obey, and report; raises `RuntimeError` with what the program said if it ended."""
        assert self._process.stdin is not None
        with suppress(OSError):  # then it has ended, and what it said is read below
            self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Report:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().decode("utf-8", "replace")
            raise LoadFailed(self.server.program.name, said.strip())
        found: dict[str, Any] = json.loads(line)
        return Report(**found)

    def saturated(self, ticks: int) -> dict[str, float]:
        """Closed loop: the next tick when all clients have the one before. What a frame cost the server.

        Metrics: `cpu_us` per frame received, `softirq_us` of the kernel's thread likewise, `frames_s`,
        `bytes` of a frame with its header.
        """
        before, softirq_before = self.server.program.cpu_s(), softirq_seconds(server_core())
        report = self.command("run", ticks)
        cpu_s = self.server.program.cpu_s() - before
        softirq_s = softirq_seconds(server_core()) - softirq_before
        if not report.complete:
            raise LoadFailed(
                self.server.program.name, f"stuck after {report.ticks} ticks, {report.frames} frames"
            )
        received = sum(group["bytes"] for group in report.groups)
        return {
            "cpu_us": cpu_s / report.frames * 1e6,
            "softirq_us": softirq_s / report.frames * 1e6,
            "frames_s": report.frames / report.seconds,
            "bytes": received / report.frames,
        }

    def paced(
        self, ticks: int, every_s: float, expecting: int | None = None
    ) -> tuple[dict[str, float], Report]:
        """Open loop: a tick every so often. Metrics: `cores` of the server, `p50_ms`, `p99_ms`, `frames`.

        `expecting`: the group whose frames the ticks count; those of all clients if None.
        """
        before = self.server.program.cpu_s()
        words = [] if expecting is None else [STUCK_MS, expecting]
        report = self.command("pace", ticks, round(every_s * 1e6), *words)
        cpu_s = self.server.program.cpu_s() - before
        group = report.groups[0]
        return {
            "cores": cpu_s / (ticks * every_s),
            "p50_ms": group["p50_us"] / 1e3,
            "p99_ms": group["p99_us"] / 1e3,
            "greatest_ms": group["greatest_us"] / 1e3,
            "frames": report.frames,
        }, report


class LoadFailed(Absent):
    """The load could not go on with this server."""

    def __init__(self, server: str, said: str) -> None:
        self.server = server
        self.said = said
        super().__init__(f"the load could not go on with {server}: {said or 'it said nothing'}")
