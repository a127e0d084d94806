"""Fuzz the parsers: `make fuzz`, or `python -m tests.fuzz`. Exit status 1 if an input breaks a promise.

Each target runs in a process of its own, guided by coverage if atheris can be imported, else on inputs that
hypothesis makes. What it finds on the way stays in `.fuzz/`: inputs that reach something new, inputs that
fail, and the number of executions so far.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import click

from tests.fuzz.corpus import keep, kept
from tests.fuzz.minimise import minimised
from tests.fuzz.targets import TARGETS

FOLDER: Final = Path(".fuzz")
COUNTS: Final = FOLDER / "counts.json"
ATHERIS: Final = FOLDER / "atheris"
INPUT_BYTES_MAX: Final = 1024
INPUT_S_MAX: Final = 10
"""An input that takes longer is a failure; it is a few milliseconds at most on an idle machine."""
MEMORY_MB_MAX: Final = 512
_DONE: Final = re.compile(r"(?:^Done |number_of_executed_units: +)(\d+)", re.MULTILINE)


class Outcome(NamedTuple):
    """How a target's run ended; `said` is the end of its output if it failed."""

    executions: int
    failed: bool
    said: str


def guided(name: str, runs: int, seconds: int | None) -> Outcome:
    """Run a target in atheris; inputs that reach something new stay in `.fuzz/corpus`."""
    folder, found = FOLDER / "corpus" / name, FOLDER / "found"
    folder.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, data in enumerate((*TARGETS[name].seeds, *kept(name))):
        (folder / f"kept-{number}").write_bytes(data)
    options = [
        f"-max_len={INPUT_BYTES_MAX}", f"-timeout={INPUT_S_MAX}", f"-rss_limit_mb={MEMORY_MB_MAX}",
        f"-artifact_prefix={found}/{name}-", "-print_final_stats=1",
        f"-atheris_runs={runs}" if seconds is None else f"-max_total_time={seconds}",
    ]  # fmt: skip
    return _run(["tests.fuzz.guided", name, *options, str(folder)])


def generated(name: str, runs: int) -> Outcome:
    """Run a target on inputs that hypothesis makes."""
    return _run(["tests.fuzz.generated", name, str(runs)])


def _run(command: list[str]) -> Outcome:
    path = os.pathsep.join((str(ATHERIS.resolve()), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | {"DEPTHCAST_PURE": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = done.stdout.decode("utf-8", "replace")
    counts = [int(count) for count in _DONE.findall(said)]
    ended = f"\nended with status {done.returncode}"
    return Outcome(max(counts, default=0), done.returncode != 0, said[-4000:] + ended)


def add_to_counts(name: str, executions: int) -> None:
    """Add to the number of executions of a target so far."""
    counts = counted()
    counts[name] = counts.get(name, 0) + executions
    FOLDER.mkdir(exist_ok=True)
    COUNTS.write_text(json.dumps(counts, indent=1, sort_keys=True), encoding="ascii")


def counted() -> dict[str, int]:
    """Return the number of executions so far, by target."""
    counts: dict[str, int] = json.loads(COUNTS.read_text(encoding="ascii")) if COUNTS.exists() else {}
    return counts


def table() -> str:
    """Return the executions so far as a table of Markdown."""
    counts = counted()
    rows = [f"| `{name}` | {counts.get(name, 0):,} | {target.promise} |" for name, target in TARGETS.items()]
    total = f"| all | {sum(counts.get(name, 0) for name in TARGETS):,} | |"
    return "\n".join(("| target | executions | what must hold |", "| --- | --- | --- |", *rows, total))


def keep_found(name: str) -> None:
    """Replace a target's kept inputs by the best of them, its seeds and what was found."""
    folder = FOLDER / "corpus" / name
    found = [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []
    keep(name, minimised(TARGETS[name], [*TARGETS[name].seeds, *kept(name), *found]))


def main() -> None:
    """Run the targets that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="executions of each target [20000]")
    parser.add_argument("--seconds", type=int, help="time for each target instead, guided only")
    parser.add_argument("--only", nargs="+", choices=sorted(TARGETS), help="these targets only")
    parser.add_argument(
        "--engine", choices=("atheris", "hypothesis"), help="[atheris, if it can be imported]"
    )
    parser.add_argument("--keep", action="store_true", help="keep the best inputs in tests/fuzz/corpus")
    parser.add_argument("--table", action="store_true", help="print the executions so far, and exit")
    options = parser.parse_args()
    if options.table:
        click.echo(table())
        return
    sys.path.append(str(ATHERIS.resolve()))
    with_atheris = options.engine == "atheris" or (
        options.engine is None and find_spec("atheris") is not None
    )
    failed = []
    for name in options.only or TARGETS:
        ended = guided(name, options.runs, options.seconds) if with_atheris else generated(name, options.runs)
        add_to_counts(name, ended.executions)
        click.echo(f"{name}: {ended.executions:,} executions{', FAILED' if ended.failed else ''}")
        if ended.failed:
            failed.append(name)
            click.echo(ended.said)
        elif options.keep:
            keep_found(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the inputs are in {FOLDER / 'found'}, or above")


if __name__ == "__main__":
    main()
