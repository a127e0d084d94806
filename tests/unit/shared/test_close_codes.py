"""The registry of close codes agrees with the contract's text and with the JavaScript client."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from depthcast.shared.close_codes import CLOSINGS, NEVER_SENT, UNKNOWN, CloseCode, Reconnect, closing

ROOT = Path(__file__).parents[3]
WEB = ROOT / "web" / "close_codes.js"

SHOW = """
const { RECONNECT, reconnect, NORMAL, LOST, OVERLOADED } = await import(process.argv[1]);
console.log(JSON.stringify({ ...RECONNECT, 4999: reconnect(4999), names: [NORMAL, LOST, OVERLOADED] }));
"""


def test_every_code_has_a_meaning() -> None:
    assert set(CLOSINGS) == set(CloseCode)
    assert all(item.meaning for item in CLOSINGS.values())


def test_the_reason_fits_into_a_close_frame() -> None:
    assert max(len(item.reason.encode()) for item in CLOSINGS.values()) <= 123


def test_what_cannot_stand_in_a_frame_has_no_reason() -> None:
    assert [code for code in NEVER_SENT if closing(code).reason] == []


def test_an_unknown_code_is_worth_another_attempt() -> None:
    assert closing(4999) is UNKNOWN
    assert UNKNOWN.reconnect is Reconnect.WITH_BACKOFF


def test_every_meaning_can_be_shown() -> None:
    for item in (*CLOSINGS.values(), UNKNOWN):
        assert item.meaning
        assert isinstance(item.meaning, str)


def test_the_contract_says_the_same() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{4}) \| ([^|]+) \| ([^|]*)\| ([^|]+) \|$", text, re.MULTILINE)
    written = {int(code): (reason.strip(), again.partition(":")[0]) for code, _, reason, again in rows}
    assert len(rows) == len(written)
    assert written == {code: (item.reason, item.reconnect.value) for code, item in CLOSINGS.items()}


def test_the_javascript_client_decides_the_same() -> None:
    """By its text, for a machine without Node."""
    rows = re.findall(r'^  (\d{4}): "([\w ]+)",', WEB.read_text(encoding="utf-8"), re.MULTILINE)
    assert {int(code): word for code, word in rows} == {
        code: item.reconnect.value for code, item in CLOSINGS.items()
    }


def test_the_javascript_client_decides_the_same_when_it_runs() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    done = subprocess.run(
        [node, "--input-type=module", "--eval", SHOW, WEB.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said.pop("names") == [CloseCode.NORMAL, CloseCode.LOST, CloseCode.OVERLOADED]
    assert said == {
        **{str(int(code)): item.reconnect.value for code, item in CLOSINGS.items()},
        "4999": UNKNOWN.reconnect.value,
    }
