"""The option for the address of a gateway, which may have a token or credentials only in the environment."""

from collections.abc import Callable
from typing import Any, Final

import click
from click.core import ParameterSource

from depthcast.client.websocket import ADDRESS_FORM, websocket_address
from depthcast.shared.redis_url import has_credentials, without_credentials

VARIABLE: Final = "DEPTHCAST_GATEWAY_URL"

_Given = str | tuple[str, ...] | None
"""An address, or several where the option is `multiple`."""


def gateway_url_option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a click option for the address of a gateway; `attributes` are click's."""
    return click.option(name, envvar=VARIABLE, metavar="URL", callback=_checked, **attributes)


def _checked(context: click.Context, parameter: click.Parameter, value: _Given) -> _Given:
    source = context.get_parameter_source(parameter.name) if parameter.name else None
    for url in (value,) if isinstance(value, str) else value or ():
        shown = without_credentials(url)
        if websocket_address(url) is None:
            hint = VARIABLE if source is ParameterSource.ENVIRONMENT else None
            raise click.BadParameter(
                f"{shown!r} is not like {ADDRESS_FORM}", context, parameter, param_hint=hint
            )
        if source is ParameterSource.COMMANDLINE and has_credentials(url):
            text = f"{shown} has a secret, which a command line shows to everybody: set {VARIABLE} instead"
            raise click.BadParameter(text, context, parameter)
    return value
