"""An error about a value names the option that was typed, for every option of every command."""

import os
from collections.abc import Iterator
from dataclasses import fields

import click
import pytest
from click.testing import CliRunner, Result

from depthcast.cli.main import main
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    RelaySettings,
    Settings,
    VenueFeedSettings,
    option,
    variable,
)

ARGUMENTS = {
    "feed live": ("kraken", "BTC/USD"),
    "feed replay": ("file",),
    "instruments add": ("X",),
    "instruments set": ("X",),
    "instruments withdraw": ("X",),
    "partition": ("X",),
    "record": ("folder",),
    "tail": ("X",),
    "repartition": ("2", "--into", "new"),
    "redis-acl": ("--passwords", "folder"),
    "token allow": ("--token-id", "x"),
    "token issue": ("--key", "file", "--subject", "x"),
    "token keygen": ("folder",),
    "token revoke": ("--token-id", "x"),
    "watch": ("X",),
}
"""What each command needs beside its options."""

BAD_TEXTS = {
    "gateway_url": "nowhere",
    "into": "{",
    "log_level": "loud",
    "origins": "no origin",
    "prefix": "{",
    "redis_url": "ftp://x",
    "source_prefix": "{",
    "source_url": "ftp://x",
    "sources": "nowhere.toml",
    "trusted_proxies": "no network",
    "url": "nowhere",
}
"""A bad value for each option of free text that is checked; all other types refuse `?`."""

UNCHECKED = {
    "admin_host",
    "audience",
    "cors_origin",
    "file",
    "folder",
    "host",
    "instruments",
    "issuer",
    "passwords",
    "redis_username",
    "rest_url",
    "signing_key",
    "source_name",
    "source_tls_ca",
    "source_tls_cert",
    "source_tls_key",
    "source_username",
    "subject",
    "symbols",
    "tls_cert",
    "token_audience",
    "token_id",
    "token_issuer",
    "token_keys",
    "ws_url",
}
"""Options that take any text; whether it is of use shows later."""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DEPTHCAST_"):
            monkeypatch.delenv(name)


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(main, words, env=environment, terminal_width=10_000)


def every_command(group: click.Group = main, words: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{words}{name} ")
        else:
            yield words + name, command


CASES = [
    pytest.param(words, parameter.opts[0], parameter.name, id=f"{words} {parameter.opts[0]}")
    for words, command in every_command()
    for parameter in command.params
    if isinstance(parameter, click.Option)
    and not parameter.is_flag
    and not parameter.hidden
    and parameter.name not in UNCHECKED
]


def test_the_cases_are_many() -> None:
    assert len(CASES) > 150
    assert {case.values[0] for case in CASES} >= {
        "gateway",
        "ingestor",
        "feed live",
        "watch",
        "tail",
        "status",
    }


@pytest.mark.parametrize(("words", "typed", "name"), CASES)
def test_a_bad_value_is_refused_by_the_name_of_its_option(words: str, typed: str, name: str) -> None:
    value = BAD_TEXTS.get(name, "?")
    result = run(*words.split(), *ARGUMENTS.get(words, ()), typed, value)
    assert result.exit_code == 2, result.output
    *_, error = result.stderr.strip().splitlines()
    assert error.startswith("Error: ")
    assert typed in error
    assert "DEPTHCAST_" not in error


BOUNDED = [
    pytest.param(kind, item.name, item.metadata["most"], id=f"{kind.__name__} {item.name}")
    for kind in (IngestorSettings, GatewaySettings, VenueFeedSettings, RelaySettings)
    for item in fields(kind)
    if item.metadata["most"] is not None
]


@pytest.mark.parametrize(("kind", "name", "most"), BOUNDED)
def test_a_value_out_of_bounds_is_refused_by_the_name_that_was_used(
    kind: type[Settings], name: str, most: float
) -> None:
    command = {
        IngestorSettings: "ingestor",
        GatewaySettings: "gateway",
        VenueFeedSettings: "feed live",
        RelaySettings: "relay",
    }[kind]
    words = (*command.split(), *ARGUMENTS.get(command, ()))
    value = str(int(most) + 1)
    by_option = run(*words, option(name), value)
    by_variable = run(*words, **{variable(name): value})
    for result, used in ((by_option, option(name)), (by_variable, variable(name))):
        assert result.exit_code == 2
        assert f"Error: {used}: {value}" in result.stderr
    assert variable(name) not in by_option.stderr.splitlines()[-1]


def test_an_old_name_is_named_as_it_was_typed() -> None:
    assert "Error: --drain-timeout: 'x' must be a number" in run("gateway", "--drain-timeout", "x").stderr


@pytest.mark.parametrize("words", ["watch X", "tail X", "status", "doctor", "feed replay file"])
def test_an_address_in_the_environment_is_refused_by_its_variable(words: str) -> None:
    result = run(*words.split(), DEPTHCAST_GATEWAY_URL="nowhere")
    assert result.exit_code == 2
    assert "DEPTHCAST_GATEWAY_URL: '***' is not like http://127.0.0.1:8080" in result.stderr


@pytest.mark.parametrize("symbol", ["", "_", "A B", "X" * 33])
def test_what_is_no_symbol_is_refused(symbol: str) -> None:
    for command in ("watch", "tail"):
        result = run(command, "X", symbol)
        assert result.exit_code == 2
        assert f"{symbol!r} is not a symbol" in result.stderr
