"""Options of `depthcast feed synthetic`."""

import pytest
from click.testing import CliRunner

from depthcast.cli.main import main
from depthcast.shared.instruments import parse_toml


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["feed", "synthetic", *words])
    return result.exit_code, result.output


def test_printing_the_instruments() -> None:
    status, output = run("--print-instruments", "--symbols", "ETH-PERP, XRP-USD,XRP-USD")
    assert status == 0
    assert list(parse_toml(output)) == ["ETH-PERP", "XRP-USD"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--symbols", "BTC-USD,NOPE"), "there is no symbol 'NOPE'; choose from BTC-USD, ETH-USD, ETH-PERP"),
        (("--symbols", ","), "there is no name"),
        (("--speed", "max"), "--speed max needs --seconds"),
        (("--speed", "0"), "neither a number above 0 nor max"),
        (("--rate", "0"), "is not in the range"),
        (("--seconds", "-1"), "is not in the range"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], complaint: str) -> None:
    status, output = run(*words)
    assert status == 2
    assert complaint in " ".join(output.replace("│", " ").split())
