"""The command line: help, exit statuses, one-line errors, missing libraries."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import depthcast
import depthcast.shared.book
from depthcast.cli import main as cli
from depthcast.feed.detect import FORMATS
from depthcast.shared.compiled import is_compiled
from depthcast.shared.runtime.extras import server_extra

PLAIN = '{"symbol": "BTC-USD", "tick_size": "0.01", "events": [["add", "bid", 1, 5]]}\n'


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "PREFIX", "PARTITIONS", "LOG_LEVEL"):
        monkeypatch.delenv(f"DEPTHCAST_{name}", raising=False)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def test_help_names_every_command_and_loads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr(cli, "import_module", refuse)
    result = run("--help")
    assert result.exit_code == 0
    for name in cli.SUBCOMMANDS:
        assert f"\n  {name} " in result.output


def test_version() -> None:
    how = "compiled" if is_compiled(depthcast.shared.book) else "not compiled"
    assert run("--version").output == f"depthcast {depthcast.__version__}, {how}\n"


@pytest.mark.parametrize(("command", "words"), [("feed", "Feed market data"), ("partition", "crc32")])
def test_commands_have_help(command: str, words: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert words in result.output


def test_help_of_replay_shows_the_plain_format_as_written() -> None:
    assert (
        '\n    {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}\n'
        in run("feed", "replay", "--help").output
    )


def test_every_format_is_listed_with_an_example_and_how_to_convert() -> None:
    output = run("feed", "formats").output
    for name, each in FORMATS.items():
        assert f"{name}: {each.title}\n    {each.example}\n    {each.how}\n" in output
    assert "convert it to JSON lines or to plain CSV" in output


def test_a_missing_piece_does_not_break_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.SUBCOMMANDS, "demo", cli.SUBCOMMANDS["demo"]._replace(module="depthcast.nowhere"))
    result = run("demo")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: demo is not part of this installation")
    assert run("partition", "BTC-USD", "--partitions", "4").output == "0\n"


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ModuleNotFoundError("No module named 'rich'", name="rich.console")

    monkeypatch.setattr(cli, "import_module", refuse)
    result = run("watch", "BTC-USD")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith("No module named 'rich'; pip install 'depthcast[server]'")


def test_another_failing_import_is_not_mistaken_for_a_missing_library() -> None:
    with pytest.raises(ModuleNotFoundError), server_extra():
        raise ModuleNotFoundError(name="depthcast.nowhere")


@pytest.mark.parametrize(
    ("symbol", "partitions", "number"), [("BTC-USD", 16, 0), ("ETH-USD", 4, 3), ("ETH-USD", 16, 15)]
)
def test_partition(symbol: str, partitions: int, number: int) -> None:
    assert run("partition", symbol, "--partitions", str(partitions)).output == f"{number}\n"


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["nothing"], 2, "No such command 'nothing'"),
        (["partition"], 2, "Missing argument 'SYMBOL'"),
        (["partition", "_x", "--partitions", "4"], 2, "Error: SYMBOL: '_x' must be"),
        (["partition", "X", "--partitions", "0"], 2, "Error: --partitions: 0 must be from 1"),
        (["partition", "X", "--redis-url", "redis://127.0.0.1:1/0"], 1, "Error: Redis is unavailable"),
        (["feed", "replay"], 2, "Missing argument 'FILE...'"),
        (["feed", "replay", "nowhere"], 1, "Error: nowhere: cannot be read: No such file"),
        (["feed", "replay", "x", "--speed", "0"], 2, "neither a number above 0 nor max"),
        (["feed", "replay", "x", "--speed", "fast"], 2, "neither a number above 0 nor max"),
        (["feed", "replay", "x", "--symbol", "A=_"], 2, "'_' is not a symbol"),
        (["feed", "replay", "x", "--redis-url", "ftp://x"], 2, "Error: --redis-url"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(words: list[str], status: int, problem: str) -> None:
    result = run(*words)
    assert result.exit_code == status
    assert problem in result.stderr
    assert "Traceback" not in result.output


def test_print_instruments(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_text(
        PLAIN.replace('"events"', '"lot_size": "0.1", "x"')
        .replace("x", "on_cross")
        .replace('[["add", "bid", 1, 5]]', '"evict"')
    )
    result = run("feed", "replay", path, "--print-instruments", "--symbol", "B")
    assert (
        result.output == '["B"]\ntick_size = "0.01"\nlot_size = "0.1"\nfeed = "levels"\non_cross = "evict"\n'
    )


def test_verifying_a_deployment_needs_its_gateway(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_text('{"symbol": "BTC-USD", "events": []}\n')
    result = run("feed", "replay", path, "--verify", "--redis-url", "redis://127.0.0.1:1/0")
    assert result.exit_code == 2
    assert "--gateway-url" in result.stderr
