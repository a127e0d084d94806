"""The command `depthcast record`."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.feed.recording import Gap, check
from depthcast.runtime.recorder import RecordCounts, RecordOptions, record
from depthcast.shared.errors import DepthcastError
from depthcast.shared.runtime.command import run_service
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings

HELP: Final = """\
Record every change of every book into Parquet files below DIR, until it is ended.

Files are DIR/symbol=SYMBOL/hour=HOUR/*.parquet: deltas exactly as they were published, with position, seq,
digest and doubt, and a snapshot of the book at the beginning of each file. docs/recorder.md describes the
columns.
Needs `depthcast[record]`.

A recorder that was killed goes on when it is started again: nothing is lost and nothing is there twice, as
long as the deltas are still in Redis (DEPTHCAST_RETENTION_S of the ingestor). Otherwise there is a gap, which
is logged.

With --check, nothing is recorded: the files are read, continuity and doubt are checked, every digest is
recomputed, and gaps are listed. Exit status 1 if there is a gap or anything is wrong.

\b
Examples:
  depthcast record /data/books
  depthcast record --check /data/books
  depthcast feed replay /data/books --register
"""


class NotWhole(DepthcastError):
    """A recording has gaps or wrong rows, which have been printed."""


@click.command("record", help=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Check what is there instead of recording.")
@click.option(
    "--file-s", type=click.FloatRange(1, 3600), default=300.0, show_default=True, metavar="S",
    help="Close files after so many seconds.",
)  # fmt: skip
@click.option(
    "--file-rows", type=click.IntRange(1), default=100_000, show_default=True, metavar="N",
    help="Close files after so many rows of all symbols together.",
)  # fmt: skip
@deployment_options
def record_command(folder: Path, *, only_check: bool, file_s: float, file_rows: int, **named: Any) -> None:
    """See `HELP`."""
    if only_check:
        _check(folder)
        return
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})
    options = RecordOptions(
        settings.redis_url, settings.prefix, settings.partitions, folder, file_s, file_rows
    )
    counts = RecordCounts()

    async def main(stop: asyncio.Event) -> None:
        working, stopping = asyncio.create_task(record(options, counts)), asyncio.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
        if not working.cancelled():
            working.result()
        click.echo(
            f"recorded {counts.deltas} deltas and {counts.snapshots} snapshots of {counts.entries} entries "
            f"into {counts.files} files; gaps: {counts.gaps}"
        )

    run_service(main, settings)


def _check(folder: Path) -> None:
    wrong = 0
    for found in check(folder):
        click.echo(
            f"{found.symbol}: {found.rows} rows, {found.deltas} deltas, every digest recomputed; "
            f"doubts: {found.doubts}, gaps: {len(found.gaps)}, wrong: {len(found.problems)}"
        )
        if found.unrecorded:
            click.echo(f"  no doubt recorded in {found.unrecorded} rows: they are older than that column")
        for gap in found.gaps:
            click.echo(f"  {_gap(gap)}")
        for problem in found.problems:
            click.echo(f"  {problem}")
        wrong += len(found.gaps) + len(found.problems)
    if wrong:
        raise NotWhole(f"the recording is not whole: {wrong} gaps and wrong rows")


def _gap(gap: Gap) -> str:
    return f"gap from seq {gap.after_seq} ({gap.after}) to seq {gap.to_seq} ({gap.to})"
