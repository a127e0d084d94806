"""The option for the address of a gateway, which may have a token or credentials only in the environment."""

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

from depthcast.shared.redis_url import has_credentials, without_credentials

VARIABLE: Final = "DEPTHCAST_GATEWAY_URL"

_Given = str | tuple[str, ...] | None
"""An address, or several where the option is `multiple`."""


def gateway_url_option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a click option for the address of a gateway; `attributes` are click's."""
    return click.option(name, envvar=VARIABLE, metavar="URL", callback=_without_secrets, **attributes)


def _without_secrets(context: click.Context, parameter: click.Parameter, value: _Given) -> _Given:
    given = parameter.name is not None and context.get_parameter_source(parameter.name)
    for url in (value,) if isinstance(value, str) else value or ():
        if given is ParameterSource.COMMANDLINE and has_credentials(url):
            shown = without_credentials(url)
            text = f"{shown} has a secret, which a command line shows to everybody: set {VARIABLE} instead"
            raise click.BadParameter(text, context, parameter)
    return value
