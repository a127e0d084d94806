"""The command `ingestor`."""

import asyncio
from typing import Final

import click

from depthcast.ingestor.runtime.feeder_watch import watch_feeders
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.runtime.command import run_service, settings_options
from depthcast.shared.runtime.garbage_collection import collect_garbage_less_often
from depthcast.shared.settings import IngestorSettings

HELP: Final = """\
Own the authoritative books and broadcast their changes.

Reads the events of every partition, applies them to the books, and publishes numbered deltas and snapshots.
Waits while Redis is away, continues where the last ingestor stopped, and ends cleanly on SIGTERM.

\b
Example:
  depthcast ingestor --instruments instruments.toml --interval-ms 50
"""


@click.command("ingestor", help=HELP)
@settings_options(IngestorSettings)
def ingestor(settings: IngestorSettings) -> None:
    """Run an ingestor with `settings`."""
    collect_garbage_less_often()
    run_service(lambda stop: _run(settings, stop), settings)


async def _run(settings: IngestorSettings, stop: asyncio.Event) -> None:
    watching = asyncio.create_task(watch_feeders(settings, stop))
    try:
        await IngestorService(settings).run(stop)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
