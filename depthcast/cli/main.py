"""The command `depthcast`.

A subcommand is imported when it is run: `--help` is quick, and a missing library does not disable the other
commands.

Exit status: 0 clean, 2 bad settings or usage, 1 anything else. An expected error is one line on standard
error.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

import click

import depthcast
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.errors import DepthcastError
from depthcast.shared.runtime.command import BAD_SETTINGS, with_remedy
from depthcast.shared.runtime.extras import REMEDY, missing_library

HELP: Final = """\
Keep authoritative order books and broadcast them to many WebSocket clients over Redis Streams.

\b
Examples:
  depthcast demo                                   see it work; needs nothing else
  depthcast ingestor --instruments books.toml      run the owner of the books
  depthcast gateway --port 8080                    serve the books; start as many as needed
  depthcast relay --source-url redis://other:6379   copy the books of another Redis
  depthcast watch BTC-USD                          see a book move in the terminal
  depthcast tail BTC-USD | jq .bids                process it as JSON lines
  depthcast doctor                                 say what is wrong with a deployment
  depthcast feed replay recording.gz --register    feed a recording into the books
  depthcast feed replay recording.gz --verify      replay it on its own and check every state

Every setting is an option and an environment variable DEPTHCAST_<NAME>; each command's --help lists them.
"""


class _Home(NamedTuple):
    """Module and name of a subcommand, and its purpose in one line."""

    module: str
    attribute: str
    purpose: str


SUBCOMMANDS: Final = {
    "demo": _Home(
        "depthcast.cli.demo", "demo", "Run everything on this machine: server, ingestor, gateways, a market."
    ),
    "server": _Home(
        "depthcast.cli.server", "server", "Run a Redis-compatible server, if none is running yet."
    ),
    "ingestor": _Home(
        "depthcast.ingestor.runtime.command", "ingestor", "Own the authoritative books and broadcast changes."
    ),
    "gateway": _Home("depthcast.gateway.runtime.command", "gateway", "Serve the books to WebSocket clients."),
    "relay": _Home("depthcast.cli.relay", "relay", "Copy the books of another Redis, unchanged."),
    "feed": _Home("depthcast.cli.feed", "feed", "Feed in recorded or synthetic market data."),
    "bench": _Home("depthcast.cli.bench", "bench", "Measure Depthcast and its peers on this machine."),
    "capacity": _Home(
        "depthcast.cli.capacity", "capacity", "Plan how many machines carry so many clients and symbols."
    ),
    "watch": _Home("depthcast.cli.watch", "watch", "Show live books in the terminal."),
    "tail": _Home("depthcast.cli.tail", "tail", "Print live books as JSON lines."),
    "instruments": _Home(
        "depthcast.cli.instruments", "instruments", "Show, add, change and withdraw instruments."
    ),
    "status": _Home("depthcast.cli.status", "status", "Show partitions, input lag, feeders and gateways."),
    "doctor": _Home("depthcast.cli.doctor", "doctor", "Say what is wrong with a deployment, and what to do."),
    "redis-acl": _Home(
        "depthcast.cli.redis_acl", "redis_acl", "Print users for Redis that may do only what they have to."
    ),
    "record": _Home(
        "depthcast.cli.record", "record_command", "Record every change of every book in Parquet files."
    ),
    "rejects": _Home("depthcast.cli.rejects", "rejects", "Show input that was rejected, and why."),
    "token": _Home("depthcast.cli.token", "token", "Make keys and tokens for a gateway, and revoke tokens."),
    "repartition": _Home(
        "depthcast.cli.repartition", "repartition", "Move a stopped deployment to more or fewer partitions."
    ),
    "partition": _Home(
        "depthcast.cli.partition", "partition", "Print the partition that a symbol belongs to."
    ),
}


def how_it_runs() -> str:
    """Return whether the hottest modules run compiled here, without importing them."""
    found = find_spec("depthcast.shared.book")
    compiled = found is not None and found.origin is not None and is_compiled_at(found.origin)
    return "compiled" if compiled else "not compiled"


class LazyGroup(click.Group):
    """A group of subcommands that imports one only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        home = SUBCOMMANDS.get(cmd_name)
        if home is None:
            return None
        try:
            command: click.Command = getattr(import_module(home.module), home.attribute)
        except ImportError as error:
            remedy = f"; {REMEDY}" if missing_library(error) else ""
            raise click.ClickException(
                f"{cmd_name} is not part of this installation: {error}{remedy}"
            ) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        with formatter.section("Commands"):
            formatter.write_dl([(name, home.purpose) for name, home in SUBCOMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DepthcastError as error:
            click.echo(f"Error: {with_remedy(error)}", err=True)
            sys.exit(2 if isinstance(error, BAD_SETTINGS) else 1)


@click.command("depthcast", cls=LazyGroup, help=HELP)
@click.version_option(depthcast.__version__, message=f"depthcast %(version)s, {how_it_runs()}")
def main() -> None:
    """The whole command line."""
