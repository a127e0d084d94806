"""Options that the `depthcast feed` commands share."""

from collections.abc import Callable
from typing import Any, Final

import click

from depthcast.shared.settings import variable
from depthcast.shared.types import is_symbol

SETTINGS: Final = ("redis_url", "prefix", "partitions", "log_level")
"""The options that are settings, for `depthcast.shared.settings.Settings.load`."""


def deployment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with an option for each of `SETTINGS`."""
    meanings = (
        ("URL", "Redis of the deployment."),
        ("TEXT", "Key prefix of the deployment."),
        ("P", "Refuse another number of partitions."),
        ("LEVEL", "debug, info, warning or error."),
    )
    for name, (metavar, meaning) in reversed(list(zip(SETTINGS, meanings, strict=True))):
        option = click.option(
            f"--{name.replace('_', '-')}", metavar=metavar, help=f"{meaning} [{variable(name)}]"
        )
        function = option(function)
    return function


class Speed(click.ParamType[float]):
    """A factor, or `max`, which is infinity: as fast as possible."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            speed = float("inf") if value == "max" else float(value)
        except ValueError:
            speed = 0.0
        if not speed > 0:
            self.fail(f"{value!r} is neither a number above 0 nor max", param, ctx)
        return speed


class Rename(click.ParamType[tuple[str, str]]):
    """`NEW`, where there is one symbol, or `OLD=NEW`."""

    name = "symbol"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        old, _, new = str(value).rpartition("=")
        if not is_symbol(new):
            self.fail(
                f"{new!r} is not a symbol: 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit",
                param,
                ctx,
            )
        return old, new
