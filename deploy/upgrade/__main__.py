"""`make upgrade`: exit status 1 if it stopped, or if watched clients saw more of it than they must."""

import logging
import os
import sys
import time
from typing import Final

import click

from deploy.upgrade.composition import Composition
from deploy.upgrade.errors import UpgradeError
from deploy.upgrade.rolling import Upgrade

CLIENTS: Final = 20


@click.command()
@click.option("--watch", is_flag=True, help="Connect clients all the while, and say what they saw of it.")
@click.option(
    "--clients", type=click.IntRange(1), default=CLIENTS, show_default=True, help="How many, with --watch."
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Until when a new container must serve; after that, nothing more is replaced.",
)
@click.option("--build/--no-build", default=True, show_default=True, help="Build the images first.")
@click.option("--force-recreate", is_flag=True, help="Replace containers that are up to date, too.")
def main(*, watch: bool, clients: int, timeout_s: float, build: bool, force_recreate: bool) -> None:
    """Replace gateways, then ingestors of the running composition, one at a time, by its present files."""
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}")

    engine = Composition()
    try:
        if build:
            engine.build()
            say("built the images")
        upgrade = Upgrade(engine, say, timeout_s, force_recreate)
        if watch:
            fine = _watched(engine, clients, upgrade)
        else:
            upgrade.run()
            fine = True
    except UpgradeError as error:
        click.echo(f"the upgrade stopped: {error}", err=True)
        sys.exit(1)
    sys.exit(0 if fine else 1)


def _watched(engine: Composition, clients: int, upgrade: Upgrade) -> bool:
    from deploy.upgrade.clients import watch

    logging.disable(logging.WARNING)
    token = os.environ.get("DEPTHCAST_TOKEN") or engine.token()
    result = watch(engine.url(), token, clients, upgrade.say, upgrade.run)
    for line in result.lines():
        click.echo(line)
    return result.fine


if __name__ == "__main__":
    main()
