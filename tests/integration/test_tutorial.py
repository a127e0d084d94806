"""Every step of the tutorial works when pasted into a real shell; programs of the how-tos run beside it.

So do the steps of the how-to about tokens.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from depthcast.shared.instruments import parse_toml
from tests.integration.pasting import (
    INSTALL_DEADLINE_S,
    ROOT,
    Block,
    Terminal,
    blocks,
    needs_curl,
    terminal_in,
    use_this_environment,
    without_install,
)

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PORTS = ("6379", "8080")
SERVER = {"DEPTHCAST_REDIS_URL": "redis://127.0.0.1:6379/0"}

EXPECTED = {
    "readyz": '"ready": true, "draining": false, "symbols": 1, "stale": 0',
    "watch": "BTC-USD 65000.10 x 0.005 | 65000.20 x 0.007",
    "/v1/stream": '"bids":[[6500010,5]],"asks":[[6500020,7]]',
    "until grep -qs 6500011": "BTC-USD live [(6500011, 3), (6500010, 5)] [(6500020, 7)]",
    "until grep -qs 6500012": "BTC-USD live [(6500012, 1), (6500011, 3), (6500010, 5)] [(6500020, 7)]",
}
"""Expected output, by a word in the block."""

PROGRAMS = {
    "service.py": "[(6500012, 1), (6500011, 3), (6500010, 5)] [(6500020, 7)]",
    "stream.py": "BTC-USD [(6500012, 1), (6500011, 3), (6500010, 5)] [(6500020, 7)]",
    "minimal.py": "[(6500012, 1), (6500011, 3), (6500010, 5)] [(6500020, 7)]",
    "interval.py": "BTC-USD broadcasts in this update: ",
    "credit.py": "BTC-USD merged so far: ",
}
"""What programs print, of the tutorial and of the how-tos."""


def beside_it() -> Iterator[Block]:
    """Give the programs of how-tos that follow a book."""
    for name in ("client", "stream"):
        (program,) = [block for block in how_to(name) if block.file]
        yield program
    interval, credit = [block for block in how_to("conflation") if block.language == "python"]
    yield interval._replace(file="interval.py")
    yield credit._replace(file="credit.py")


def how_to(name: str) -> list[Block]:
    return blocks((ROOT / "docs" / "how-to" / f"{name}.md").read_text(encoding="utf-8"))


def follow_the_steps(terminal: Terminal, *, install: bool) -> None:
    """Paste every block in order, run every program, check each output, and check that nothing is left."""
    seen = set()
    for block in blocks(TUTORIAL):
        if block.file:
            terminal.save(block)
            if block.runs:
                together = [block, *beside_it()]
                terminal.run_together({each: PROGRAMS[each.file] for each in together})
                seen |= {each.file for each in together}
            continue
        printed = terminal.paste(block.text if install else without_install(block.text))
        for word, text in EXPECTED.items():
            if word in block.text:
                assert text in printed
                seen.add(word)
    assert seen == EXPECTED.keys() | PROGRAMS.keys()
    terminal.assert_nothing_is_left()


@pytest.mark.slow
@needs_curl
def test_the_steps_work_as_pasted(tmp_path: Path) -> None:
    use_this_environment(tmp_path)
    with terminal_in(tmp_path, PORTS, SERVER) as terminal:
        follow_the_steps(terminal, install=False)


@needs_curl
@pytest.mark.deep
@pytest.mark.timeout(INSTALL_DEADLINE_S)
def test_the_steps_work_in_a_fresh_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.integration.pasting.DEADLINE_S", INSTALL_DEADLINE_S)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    with terminal_in(clone, PORTS, SERVER) as terminal:
        follow_the_steps(terminal, install=True)


TOKENS = {
    "keygen": ["keys/signing.pem", "keys/keys.json"],
    "ETH-USD": ['"code":"unauthorized"', '"symbol":"BTC-USD"', '"code":"forbidden"', "BTC-USD 6"],
    "revoke ": ["revoked sub:alice; gateways follow", "sub:alice 3", "the token was revoked"],
    "wait $server": [],
}
"""What the blocks of shell print in this order, by a word in each."""


@pytest.mark.slow
@needs_curl
def test_the_steps_about_tokens_work_as_pasted(tmp_path: Path) -> None:
    use_this_environment(tmp_path)
    pasted = [block for block in how_to("tokens") if block.language == "sh"]
    gateway = {"DEPTHCAST_GATEWAY_URL": "http://127.0.0.1:8080"}
    with terminal_in(tmp_path, PORTS, SERVER | gateway) as terminal:
        terminal.paste(". .venv/bin/activate")
        for block, (word, texts) in zip(pasted, TOKENS.items(), strict=True):
            assert word in block.text
            rest = terminal.paste(block.text)
            for text in texts:
                assert text in rest, (text, rest)
                rest = rest.partition(text)[2]
        terminal.assert_nothing_is_left()


def test_the_instruments_are_what_the_text_says() -> None:
    (toml,) = re.findall(r"instruments\.toml <<'EOF'\n(.*?)^EOF$", TUTORIAL, re.MULTILINE | re.DOTALL)
    (instrument,) = parse_toml(toml).values()
    assert (instrument.symbol, instrument.tick_size, instrument.lot_size) == ("BTC-USD", "0.01", "0.001")
