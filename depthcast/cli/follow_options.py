"""Options and exit status of the commands that show books of a gateway."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from depthcast.cli.gateway_url import gateway_url_option
from depthcast.client.requests import EVERYTHING
from depthcast.shared.types import MAX_INTEGER, is_symbol

DEPTHS: Final = ("1", "5", "10", "25", "50", "100")


class SymbolOrAll(click.ParamType[str]):
    """The name of a book, or `*` for all."""

    name = "symbol"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != EVERYTHING and not is_symbol(value):
            self.fail(
                f"{value!r} is not a symbol: 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit; "
                "'*' stands for all",
                param,
                ctx,
            )
        return str(value)


def follow_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with `symbols`, `url`, `seconds` and `group`."""
    for decorate in (
        click.option(
            "--seconds", type=click.FloatRange(min=0.1), metavar="S",
            help="End after so many seconds. [default: never]",
        ),
        click.option(
            "--group", type=click.IntRange(1, MAX_INTEGER), default=1, metavar="TICKS",
            help="Sum levels up in groups of so many ticks: bids round down, asks up; --depth counts groups. "
            "[default: levels as they are]",
        ),
        gateway_url_option(
            "--url", default="http://127.0.0.1:8080", help="Address of a gateway.", show_default=True
        ),
        click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True, type=SymbolOrAll()),
    ):  # fmt: skip
        function = decorate(function)
    return function


def report(undone: Sequence[str]) -> None:
    """Say what could not be done, a line each, and end with 1; return if there is nothing."""
    for line in undone:
        click.echo(f"Error: {line}", err=True)
    if undone:
        sys.exit(1)
