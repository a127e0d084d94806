"""The command `depthcast relay`."""

from typing import Final

import click

from depthcast.shared.runtime.command import run_service, settings_options
from depthcast.shared.settings import RelaySettings

HELP: Final = """\
Copy the books of another Redis into this one, unchanged: same IDs, same seqs.

Gateways and consumers read the copy as they read the source. --source-url is the Redis to copy from,
--redis-url the one that is written; a file of --sources names several. Nothing is stored but the copy itself:
a relay may be killed at any time, and a second one with the same settings takes over when the first is gone.

\b
Examples:
  depthcast relay --source-url redis://tokyo:6379/0 --redis-url redis://127.0.0.1:6379/0
  depthcast relay --sources sources.toml --admin-port 9100
"""


@click.command("relay", help=HELP)
@settings_options(RelaySettings)
def relay(settings: RelaySettings) -> None:
    """Run a relay with `settings`."""
    from depthcast.runtime.relay import RelayService

    run_service(lambda stop: RelayService(settings).run(stop), settings)
