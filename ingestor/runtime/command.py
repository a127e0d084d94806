"""The command `ingestor`."""

from typing import Final

import click

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
    run_service(lambda stop: IngestorService(settings).run(stop), settings)
