"""Runs benchmarks: `python -m benchmarks [NAME ...]`, by default all; `make bench ARGS='NAME --quick'`.

Each writes benchmarks/results/NAME.json; at the end the tables and pictures of docs/performance.md are made
from all results there are. Linux: servers are pinned to one core, the load to the others, and the kernel's
accounts are read.
"""

import argparse
import os
import sys
import time
import traceback

from benchmarks import machine, report
from benchmarks.harness import Run
from benchmarks.registry import MODULES, load


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(MODULES)}; by default all, versions only with --before",
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of each comparison, instead of each benchmark's own number"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes: to see that it works")
    parser.add_argument(
        "--before",
        metavar="PYTHON",
        help="the Python of an earlier version's environment: versions, which needs it, latency and ingest "
        "measure it beside this one",
    )
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument(
        "--report", action="store_true", help="only write docs/performance.md anew from the results"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MODULES]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}")
    if "versions" in options.names and options.before is None:
        parser.error("versions needs --before PYTHON: the Python of an earlier version's environment")
    if options.list:
        for name in MODULES:
            print(f"{name:14}{load(name).title}")
        return
    failed = 0
    if not options.report:
        if not sys.platform.startswith("linux"):
            parser.error("the benchmarks read the accounts of the Linux kernel")
        # A benchmark may pin this process; the next one begins with all cores again.
        cores = os.sched_getaffinity(0)
        possible = [name for name in MODULES if options.before is not None or name != "versions"]
        for name in options.names or possible:
            failed += not run_one(name, options.rounds, quick=options.quick, before=options.before)
            os.sched_setaffinity(0, cores)
    report.update_document()
    sys.exit(1 if failed else 0)


def run_one(name: str, rounds: int | None, *, quick: bool, before: str | None) -> bool:
    """Run one benchmark and write its result; False, saying why, if it did not end well."""
    benchmark = load(name)
    print(f"{name}: {benchmark.title}", file=sys.stderr, flush=True)
    run = Run(rounds or (benchmark.quick_rounds if quick else benchmark.rounds), quick, before)
    began, run.busy = time.monotonic(), machine.busy_share()
    try:
        benchmark.run(run)
    except Exception:  # noqa: BLE001 - one that fails does not keep the others from running
        traceback.print_exc()
        return False
    path = report.save(benchmark, run, time.monotonic() - began)
    print(f"  {path.relative_to(report.ROOT)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return not run.failures


if __name__ == "__main__":
    main()
