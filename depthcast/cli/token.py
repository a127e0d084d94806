"""The commands `depthcast token`: keys, tokens and revocations."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from redis.asyncio import Redis

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.runtime.tokens import AUDIENCE, make_keys, sign
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.revocation import NAME_CHARACTERS_MAX, REVOKED_MAX, SUBJECT, TOKEN_ID, member
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.runtime.revoked_tokens import allow_again, list_revoked, revoke
from depthcast.shared.settings import Settings, errors_about

HELP: Final = """\
Make keys and tokens for a gateway, and revoke tokens.

A gateway takes the tokens of whoever signs them with the keys that its settings name. These commands are
for development and for small deployments; else a service that logs users in makes the tokens.

\b
Examples:
  depthcast token keygen keys
  depthcast gateway --token-keys keys/keys.json
  depthcast token issue --key keys/signing.pem --subject alice --symbol 'BTC-*' --lifetime 1h > alice.token
  DEPTHCAST_TOKEN_FILE=alice.token depthcast watch BTC-USD
  depthcast token revoke --subject alice --lifetime 1h
"""

_LIFETIME: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group("token", help=HELP)
def token() -> None:
    """See `HELP`."""


class Lifetime(click.ParamType[int]):
    """A time such as `15m`, in seconds."""

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _LIFETIME.fullmatch(value)
        if found is None or not int(found[1]):
            self.fail(f"{value!r}; write a number and s, m, h or d, such as 15m", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@token.command("keygen")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--algorithm",
    type=click.Choice(["EdDSA", "ES256", "RS256", "HS256"]),
    default="EdDSA",
    show_default=True,
    help="What tokens are signed by; HS256 has one secret for both sides.",
)
def keygen(folder: Path, algorithm: str) -> None:
    """Make a signing key in FOLDER, and beside it the public keys for gateways."""
    for path in make_keys(folder, algorithm):
        click.echo(path)


@token.command("issue")
@click.option(
    "--key", "signing_key", required=True, type=click.Path(dir_okay=False, path_type=Path),
    help="File of the signing key, or of the secret.",
)  # fmt: skip
@click.option("--subject", required=True, metavar="TEXT", help="Whose it is (sub).")
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    metavar="PATTERN",
    help="Symbol, or pattern with one *. [default: *]",
)
@click.option("--depth-max", type=click.IntRange(1), metavar="N", help="Greatest depth. [default: any]")
@click.option(
    "--interval-min-ms", type=click.IntRange(0), metavar="MS", help="Least interval. [default: any]"
)
@click.option("--connections-max", type=click.IntRange(1), metavar="N", help="Connections, for each worker.")
@click.option("--metrics", is_flag=True, help="Metrics may be read, too.")
@click.option("--audience", default=AUDIENCE, show_default=True, metavar="TEXT", help="For whom it is (aud).")
@click.option("--issuer", metavar="TEXT", help="Who made it (iss).")
@click.option(
    "--lifetime", type=Lifetime(), default="1h", show_default=True, metavar="TIME", help="Until it expires."
)
def issue(
    signing_key: Path, subject: str, lifetime: int, audience: str, issuer: str | None, **rights: Any
) -> None:
    """Print a token."""
    now = int(time.time())
    claims = {
        "sub": subject,
        "jti": str(uuid.uuid4()),
        "aud": audience,
        "iat": now,
        "exp": now + lifetime,
        "depthcast": _rights(**rights),
    }
    click.echo(sign(claims | ({"iss": issuer} if issuer else {}), signing_key))


def _rights(symbols: Sequence[str], metrics: bool, **limits: int | None) -> dict[str, Any]:
    table: dict[str, Any] = {"symbols": list(symbols) or ["*"]}
    table |= {name: limit for name, limit in limits.items() if limit is not None}
    return table | ({"metrics": True} if metrics else {})


def _whom(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options that name a token or a subject."""
    function = click.option("--subject", metavar="TEXT", help="All tokens of a subject (sub).")(function)
    return click.option("--token-id", metavar="TEXT", help="One token, by its jti.")(function)


@token.command("revoke")
@_whom
@click.option(
    "--lifetime", type=Lifetime(), default="1d", show_default=True, metavar="TIME",
    help="How long to remember it: until the tokens have expired.",
)  # fmt: skip
@deployment_options
def revoke_(*, token_id: str | None, subject: str | None, lifetime: int, **named: Any) -> None:
    """Refuse tokens, and end the connections that presented them."""
    entry = _member(token_id, subject)
    if not _run(named, lambda client, key: revoke(client, key, entry, lifetime)):
        raise click.ClickException(f"{REVOKED_MAX} entries are in the list, and no more are read")
    click.echo(f"revoked {entry}; gateways follow within a second")


@token.command("allow")
@_whom
@deployment_options
def allow(*, token_id: str | None, subject: str | None, **named: Any) -> None:
    """Take back a revocation."""
    entry = _member(token_id, subject)
    found = _run(named, lambda client, key: allow_again(client, key, entry))
    click.echo(f"{entry} is allowed again" if found else f"{entry} was not revoked")


@token.command("revoked")
@deployment_options
def revoked(**named: Any) -> None:
    """List what is revoked, and for how many seconds more."""
    for entry in _run(named, list_revoked):
        click.echo(f"{entry.member} {entry.left_s}")


def _member(token_id: str | None, subject: str | None) -> str:
    if (token_id is None) == (subject is None):
        raise click.UsageError("name either --token-id or --subject")
    name = token_id or subject or ""
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise click.UsageError(f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
    return member(SUBJECT if token_id is None else TOKEN_ID, name)


def _run(named: dict[str, Any], work: Callable[[Redis, str], Awaitable[Any]]) -> Any:
    """Do `work` with the deployment's list of revoked tokens."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})

    async def run() -> Any:
        async with redis.connect(settings.redis_url) as client:
            return await work(client, DeploymentKeys.at(settings.redis_url, settings.prefix).revoked)

    with errors_about(settings.typed):
        return asyncio.run(run())
