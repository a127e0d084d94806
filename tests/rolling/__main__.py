"""`make rolling`: exit status 1 if a client saw more of it than it must."""

import asyncio
import logging
import sys
import time

import click

from tests.rolling.deployment import HAPROXY
from tests.rolling.run import roll


@click.command()
@click.option("--clients", default=80, show_default=True, help="Clients behind the proxy.")
@click.option("--rate", default=100.0, show_default=True, help="Mean events per second and symbol.")
@click.option("--spread-s", default=4.0, show_default=True, help="drain_spread_s of the gateways.")
def main(clients: int, rate: float, spread_s: float) -> None:
    """Restart two ingestors and three gateways one after the other, under load."""
    logging.disable(logging.WARNING)
    if HAPROXY is None:
        raise click.UsageError("there is no haproxy on PATH: install it (apt-get install haproxy)")
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    result = asyncio.run(roll(clients, rate, spread_s, say))
    for line in result.lines():
        click.echo(line)
    sys.exit(0 if result.fine else 1)


if __name__ == "__main__":
    main()
