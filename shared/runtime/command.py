"""Shared by the commands: options made from settings, signals, exit statuses.

Exit status: 0 clean, 2 bad settings, 1 anything else.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import click

from depthcast.shared.errors import (
    CopyError,
    DeploymentMismatch,
    DepthcastError,
    InstrumentsError,
    RedisRefused,
    RedisUnavailable,
    SettingsError,
    WrongKey,
)
from depthcast.shared.redis_url import is_encrypted
from depthcast.shared.reply_remedies import UNREACHED, quotes_reply, remedy_of
from depthcast.shared.runtime import logs
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import RENAMED, Settings, described, errors_about, option

logger = logging.getLogger(__name__)

ServiceMain = Callable[[Stop], Awaitable[None]]
"""A process's main coroutine function: runs until the event is set, then ends cleanly."""

BAD_SETTINGS = (SettingsError, InstrumentsError, DeploymentMismatch, CopyError)


def with_remedy(error: DepthcastError) -> str:
    """The error as a command says it: that Redis is unavailable comes with what to do about it."""
    if not isinstance(error, RedisUnavailable) or isinstance(error, WrongKey):
        return str(error)
    replied = isinstance(error, RedisRefused) or quotes_reply(error.problem)
    return f"{error}; {remedy_of(error.problem) if replied else UNREACHED}"


def settings_options(kind: type[Settings]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a click command an option for each setting of `kind`; it receives `settings`, an instance."""
    shown = dict(described(kind))
    hidden = [old for old, new in RENAMED.items() if new in shown]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_settings(**options: Any) -> Any:
            given = {name: options.pop(name) for name in (*shown, *hidden)}
            try:
                environment = read_environment()
                settings = kind.load(environment, given)
            except SettingsError as error:
                raise click.UsageError(str(error)) from error
            for line in kind.old_names(environment, given):
                click.echo(f"Warning: {line}", err=True)
            return function(settings=settings, **options)

        for name in hidden:
            with_settings = click.option(option(name), name, hidden=True)(with_settings)
        for name, text in reversed(shown.items()):
            with_settings = click.option(option(name), name, metavar="VALUE", help=text)(with_settings)
        return with_settings

    return decorate


def run_service(main: ServiceMain, settings: Settings) -> None:
    """Run `main` until it returns or SIGTERM or SIGINT ends it; on an error, exit with its status.

    The same signal a second time ends it at once.
    """
    logs.configure(settings.log_level)
    try:
        with errors_about(settings.typed):
            _check_tls_files(settings.redis_url)
            _runner()(_until_signalled(main))
    except BAD_SETTINGS as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except DepthcastError as error:
        click.echo(f"Error: {with_remedy(error)}", err=True)
        sys.exit(1)
    except Exception:
        logger.exception("ended by an unexpected error")
        sys.exit(1)


def _check_tls_files(url: str) -> None:
    """Raise `SettingsError` if files of TLS are of no use; waiting for Redis would not make them better."""
    if is_encrypted(url):
        from depthcast.shared.runtime.redis import check_tls_files

        check_tls_files(url)


async def _until_signalled(main: ServiceMain) -> None:
    stop, seen = Stop(), set[int]()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        stop.ask(again=number in seen)
        seen.add(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    await main(stop)


def _runner() -> Callable[..., None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run
