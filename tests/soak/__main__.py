"""`make soak`: a long run with clients of every kind; exit status 1 if anything grew."""

import csv
import itertools
import logging
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import orjson

from benchmarks.chart import draw
from benchmarks.machine import load_cores, pin
from tests.attack.catalog import Attack, chosen
from tests.attack.stage import Sample, Stage, attacked_by, attacker, prefer, sample
from tests.soak.flatness import LIMITS, WORK, Growth, growth

OTHERS: Final = (5, 20, 20, 10, 10)
"""Measured, crediting, slow, stalled and restless clients, beside the steady ones."""
CALIBRATION_S: Final = 8.0
STEP: Final = 200
"""So many steady clients at first."""
STEADY_MAX: Final = 6000
NEAR: Final = 0.02
"""So near to the wanted share of a core is near enough."""
HOSTILE_S: Final = 3.0
HOSTILE_EVERY_S: Final = 9.0
"""So that every attack was carried out once before flatness is judged: 127 of them in the first third."""
REFRESH_S: Final = 30.0
SAY_S: Final = 60.0
COLUMNS: Final = (
    *("seconds", "rss_mb", "descriptors", "cpu", "connected", "messages", "p50_ms", "p99_ms", "most_ms"),
    *(WORK, "heap_mb", "attack"),
)
WORK_ROUNDS: Final = 100_000
POINTS: Final = 120
WORST_SHOWN: Final = 8


class Crowd:
    """The process of the clients; `last` is what it reported last."""

    def __init__(self, port: int, symbols: int) -> None:
        self.last: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.crowd", str(port), str(symbols)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        self.pid = self._process.pid
        pin(self.pid, load_cores())
        threading.Thread(target=self._read, daemon=True).start()

    def want(self, *counts: int) -> None:
        """Have at least so many clients of each kind."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, counts)).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End all clients."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last = orjson.loads(line)


class Hostile:
    """Attackers, one after the other, in a thread; `now` names the attack that runs."""

    def __init__(self, port: int, symbols: int, attacks: list[Attack]) -> None:
        self.port = port
        self.symbols = symbols
        self.attacks = attacks
        self.now = ""
        self.done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the attack that runs be the last."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        order = random.Random(1)
        while True:
            for attack in order.sample(self.attacks, len(self.attacks)):
                if self._stop.wait(HOSTILE_EVERY_S - HOSTILE_S):
                    return
                self.now = attack.name
                attacked_by(attacker(attack.name, self.port, HOSTILE_S, self.symbols), HOSTILE_S)
                self.now = ""
                self.done += 1


def calibrate(crowd: Crowd, pid: int, load: float) -> tuple[int, float]:
    """Add steady clients until they take this share of a core; returns how many, and the share.

    More clients cost less each, because they share more work: steps by the average cost approach from below.
    """
    steady = STEP
    while True:
        crowd.want(steady, *OTHERS)
        time.sleep(CALIBRATION_S)
        now = share(pid, CALIBRATION_S)
        if now >= load - NEAR or steady >= STEADY_MAX:
            return steady, now
        wanted = round(steady * (load / now - 1))
        steady += max(STEP // 4, min(wanted, steady // 2, STEADY_MAX - steady))


def share(pid: int, seconds: float) -> float:
    """The share of a core that a process takes in this time from now."""
    before = sample(pid)
    time.sleep(seconds)
    after = sample(pid)
    return (after.cpu_s - before.cpu_s) / (after.at - before.at)


def every_second(seconds: float) -> Iterator[float]:
    """Seconds since the beginning, once a second, until the time is over."""
    begin = time.monotonic()
    for number in itertools.count(1):
        time.sleep(max(0.0, begin + number - time.monotonic()))
        yield time.monotonic() - begin
        if time.monotonic() - begin >= seconds:
            return


@click.command()
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--load", default=0.7, show_default=True, help="Share of a core that honest clients take.")
@click.option("--symbols", default=200, show_default=True, help="100 of them move 20 times a second.")
@click.option("--hostile/--no-hostile", default=True, show_default=True, help="Attackers too.")
@click.option("--preferred", is_flag=True, help="All of it goes before other work of the machine.")
@click.option("--out", default=Path("build/soak"), show_default=True, type=click.Path(path_type=Path))
def main(minutes: float, load: float, symbols: int, hostile: bool, preferred: bool, out: Path) -> None:
    """Run one gateway worker for long, and check that memory, descriptors and latency stay flat."""
    logging.basicConfig(level=logging.CRITICAL)
    out.mkdir(parents=True, exist_ok=True)
    attacks = [attack for attack in chosen([], measured_only=False) if not attack.seconds]
    with ExitStack() as stack:
        stage = stack.enter_context(Stage(symbols, alone=True, preferred=preferred))
        gateway = stack.enter_context(stage.gateway())
        port = int(gateway.said[0])
        crowd = Crowd(port, symbols)
        if preferred:
            prefer(crowd.pid)
        stack.callback(crowd.close)
        steady, reached = calibrate(crowd, gateway.pid, load)
        click.echo(
            f"{steady} steady clients and {sum(OTHERS)} others take {reached:.0%} of a core, "
            f"{'preferred' if preferred else f'nice {os.nice(0)}'}; "
            f"load of the machine {os.getloadavg()[0]:.1f}"
        )
        time.sleep(CALIBRATION_S)
        pin(os.getpid(), load_cores())
        enemy = Hostile(port, symbols, attacks) if hostile else None
        rows: list[dict[str, Any]] = []
        with (out / "soak.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            before, refreshed, spoken = sample(gateway.pid), 0.0, 0.0
            for at in every_second(minutes * 60):
                if gateway.status is not None:
                    break
                now = sample(gateway.pid)
                rows.append(row(at, before, now, crowd.last, enemy.now if enemy else ""))
                if at - refreshed > REFRESH_S:
                    rows[-1]["heap_mb"] = round(heap_mb(gateway.pid), 2)
                    stage.refresh()
                    refreshed = at
                writer.writerow(rows[-1])
                file.flush()
                before = now
                if at - spoken > SAY_S:
                    click.echo(f"{at / 60:6.1f} min  {rows[-1]}")
                    spoken = at
        status, endings = gateway.status, crowd.last.get("endings", {})
        if enemy:
            enemy.close()
    grown = [growth(limit, rows) for limit in LIMITS]
    (out / "soak.svg").write_text(picture(rows), encoding="utf-8")
    report(rows, grown, enemy.done if enemy else 0, endings)
    good = status is None and all(growth.flat for growth in grown)
    click.echo("all is flat" if good else "THIS IS NOT FLAT" if status is None else f"it ended with {status}")
    sys.exit(0 if good else 1)


def row(at: float, before: Sample, now: Sample, last: dict[str, Any], attack: str) -> dict[str, Any]:
    """One sample as a row of the file."""
    cpu = (now.cpu_s - before.cpu_s) / (now.at - before.at)
    figures = {name: round(value, 2) for name, value in last.items() if isinstance(value, int | float)}
    own = {"seconds": round(at, 1), "rss_mb": round(now.rss / 1e6, 2), "descriptors": now.descriptors}
    return own | figures | {"cpu": round(cpu, 3), WORK: round(work_ms(), 3), "attack": attack}


def work_ms() -> float:
    """The CPU time that a fixed piece of work takes now, on the cores of the load."""
    begin = time.thread_time()
    sum(range(WORK_ROUNDS))
    return (time.thread_time() - begin) * 1e3


def heap_mb(pid: int) -> float:
    """How much of a process's memory is the C library's heap; Python's small objects lie elsewhere. Linux."""
    lines = iter(Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines())
    if not any(line.endswith("[heap]") for line in lines):
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024 / 1e6


def values(rows: list[dict[str, Any]], column: str) -> list[tuple[float, float]]:
    """One column over time, where it has a value."""
    return [(row["seconds"], row[column]) for row in rows if row.get(column) is not None]


def picture(rows: list[dict[str, Any]]) -> str:
    """Memory, descriptors, latency and CPU over time, each as a share of its greatest median."""
    series = {}
    for column, title in (
        ("rss_mb", "MB"),
        ("descriptors", "open files"),
        ("p50_ms", "p50 ms"),
        (WORK, "work ms"),
        ("cpu", "cores"),
    ):
        points = values(rows, column)
        size = max(1, len(points) // POINTS)
        parts = [points[at : at + size] for at in range(0, len(points), size)]
        line = [(part[0][0] / 60, statistics.median(value for _, value in part)) for part in parts]
        most = max(value for _, value in line) or 1.0
        series[f"{title} ({most:.4g})"] = [(at, value / most * 100) for at, value in line]
    unit = "% of the greatest value (in brackets), over minutes; medians of equal parts"
    return draw({"title": "Soak", "unit": unit, "series": series})


def worst(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The greatest latency of a measured client during each attack, in ms; the worst attack first."""
    found: dict[str, float] = {}
    for row in rows:
        if row["attack"] and row.get("most_ms"):
            found[row["attack"]] = max(found.get(row["attack"], 0.0), row["most_ms"])
    return dict(sorted(found.items(), key=lambda item: -item[1])) or {"none": 0.0}


def report(rows: list[dict[str, Any]], grown: list[Growth], attacks: int, endings: dict[str, int]) -> None:
    """Print what came of it."""
    click.echo(
        f"\n{len(rows)} samples, {attacks} attacks\n\n| measure | median | growth in an hour | allowed |"
    )
    click.echo("| --- | --- | --- | --- |")
    for found in grown:
        unit = f" {found.limit.unit}".rstrip()
        click.echo(
            f"| {found.limit.title} | {found.median:.1f}{unit} | {found.per_hour:+.1f}{unit} "
            f"| {found.allowed:.1f}{unit} |"
        )
    calm = [row["most_ms"] for row in rows if row.get("most_ms") and not row["attack"]]
    if calm:
        waits = worst(rows)
        click.echo(
            f"\ngreatest latency in a second: {statistics.median(calm):.0f} ms without an attack, "
            f"{statistics.median(waits.values()):.0f} ms in the worst second of an attack (medians); most in "
            + ", ".join(f"{name} {waits[name]:.0f} ms" for name in list(waits)[:WORST_SHOWN])
        )
    click.echo("\nends of connections: " + (", ".join(f"{k} × {n}" for k, n in endings.items()) or "none"))


if __name__ == "__main__":
    main()
