"""`depthcast bench`: runs the benchmarks of a source checkout; they are not part of the package."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import click

HELP: Final = """\
Measure Depthcast and its peers on this machine, in the same run. Without names, all benchmarks; Linux only.

\b
Examples:
  depthcast bench --list
  depthcast bench paced idle      what clients cost a worker here
  depthcast bench capacity        what depthcast capacity plans with
  depthcast bench one-channel     what a delivery costs, beside other servers
"""
ROOT: Final = Path(__file__).parents[2]


@click.command("bench", help=HELP, context_settings={"max_content_width": 120})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--rounds", type=click.IntRange(min=1), help="Rounds of each comparison, instead of the benchmark's own."
)
@click.option("--quick", is_flag=True, help="Fewer rounds and sizes, to check that it works.")
@click.option("--list", "only_list", is_flag=True, help="List the benchmarks and exit.")
def bench(names: tuple[str, ...], rounds: int | None, quick: bool, only_list: bool) -> None:
    """Run the benchmarks as a child process in the checkout's folder."""
    if not (ROOT / "benchmarks" / "__main__.py").exists():
        raise click.ClickException(
            "the benchmarks are part of the source, not of the package: run this in a checkout"
        )
    words = [*names, *(["--quick"] if quick else []), *(["--list"] if only_list else [])]
    words += [] if rounds is None else ["--rounds", str(rounds)]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=ROOT, check=False)
    sys.exit(done.returncode)
