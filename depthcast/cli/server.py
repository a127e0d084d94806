"""`depthcast server`: a Redis-compatible server in the foreground, for a machine without a running one."""

import signal
import threading
from pathlib import Path
from typing import Final

import click

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.shared.errors import DepthcastError

POLL_S: Final = 0.1
"""Time between checks that the server still runs."""


@click.command("server")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=6379, show_default=True, help="0 picks a free port."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data here, for the next start; default: in a temporary folder, removed at the end.",
)
def server(port: int, folder: Path | None) -> None:
    """Run a Redis-compatible server on 127.0.0.1 until Ctrl-C.

    Takes valkey-server or redis-server from PATH, else the server that depthcast[embedded] installs. It is
    meant for trials on one machine; a deployment runs its own server.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    running = EmbeddedServer(port=port, folder=folder, append_only=folder is not None)
    try:
        with running:
            click.echo(f"server listening on {running.url}; Ctrl-C ends it")
            while not stop.wait(POLL_S):
                if not running.running:
                    raise click.ClickException(f"the server at {HOST}:{running.port} ended by itself")
    except DepthcastError as error:
        raise click.ClickException(str(error)) from error
