"""The command `ingestor`."""

import click

from ingestor.runtime.service import IngestorService
from shared.runtime.command import run_service, settings_options
from shared.settings import IngestorSettings


@click.command("ingestor")
@settings_options(IngestorSettings)
def ingestor(settings: IngestorSettings) -> None:
    r"""Own the authoritative books: apply the input log, broadcast merged changes.

    Reads the events of every partition, applies them to the order books, and publishes numbered deltas and snapshots.
    It waits for Redis when Redis is away, continues where the last ingestor stopped, and ends cleanly on SIGTERM.

    \b
    Example:
      depthcast ingestor --instruments instruments.toml --interval-ms 50
    """
    run_service(lambda stop: IngestorService(settings).run(stop), settings)
