"""The command `gateway`: `python -m gateway`, and a subcommand of `depthcast`."""

import os

import click

from depthcast.shared.runtime.command import run_service, settings_options
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import GatewaySettings


@click.command(
    name="gateway", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@settings_options(GatewaySettings)
def gateway(settings: GatewaySettings) -> None:
    """Serve order books over WebSocket and HTTP."""
    from depthcast.gateway.runtime.certificates import make_context
    from depthcast.gateway.runtime.supervisor import WORKER_MARK, Supervisor
    from depthcast.gateway.runtime.worker import run_alone, run_worker

    async def main(stop: Stop) -> None:
        if settings.tls_cert:
            make_context(settings)  # what is wrong is said once, not by each worker
        if WORKER_MARK in os.environ:
            await run_worker(settings, stop, int(os.environ[WORKER_MARK]))
        elif settings.workers > 1:
            await Supervisor(settings).run(stop)
        else:
            await run_alone(settings, stop)

    run_service(main, settings)
