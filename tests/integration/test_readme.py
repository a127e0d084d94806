"""Every block of the README works when pasted into a real shell, and prints what the README shows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.pasting import (
    ROOT,
    Block,
    blocks,
    needs_curl,
    terminal_in,
    use_this_environment,
    without_install,
)

README = (ROOT / "README.md").read_text(encoding="utf-8")
STEPS = blocks(README.split("## Use it")[1].split("### ")[0])
EXPECTED = {
    "readyz": '"ready": true, "draining": false, "symbols": 3, "stale": 0',
    "watch": "BTC-USD 6",
    "/v1/books": '"tick_size":"0.01"',
}
"""Expected output, by a word in the block."""


def has_websocket() -> bool:
    """Whether there is a Node with a WebSocket of its own."""
    if shutil.which("node") is None:
        return False
    said = subprocess.run(
        ["node", "-p", "typeof WebSocket"], capture_output=True, text=True, check=False
    ).stdout
    return said.strip() == "function"


def shape(line: str) -> str:
    """A line with N for each number."""
    return re.sub(r"\d+(?:\.\d+)?", "N", line)


@pytest.mark.slow
@needs_curl
def test_the_steps_work_as_pasted(tmp_path: Path) -> None:
    use_this_environment(tmp_path)
    gateway = {"DEPTHCAST_GATEWAY_URL": "http://127.0.0.1:8080"}
    seen: set[str] = set()
    programs: dict[Block, str] = {}
    with terminal_in(tmp_path, ("8080",), gateway) as terminal:
        for block in STEPS:
            if block.file:
                assert block.runs
                if block.language == "python" or has_websocket():
                    programs[block] = "BTC-USD live [" if block.language == "python" else "BTC-USD live"
                continue
            if "kill" in block.text:
                terminal.run_together(programs)
            printed = terminal.paste(without_install(block.text))
            for word, text in EXPECTED.items():
                if word in block.text:
                    assert text in printed
                    seen.add(word)
        terminal.assert_nothing_is_left()
    assert seen == EXPECTED.keys()
    assert programs
    (shown,) = re.findall(r"```text\n(BTC-USD .*?)```", README, re.DOTALL)
    demo = (tmp_path / "demo.log").read_text(encoding="utf-8").splitlines()
    assert [shape(line) for line in shown.splitlines()] == [shape(line) for line in demo[-2:]]


def test_git_and_linters_ignore_what_the_steps_write() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    files = re.findall(r"(?:^cat|\S) > (\S+)", README + tutorial, re.MULTILINE)
    files += [block.file for block in (*STEPS, *blocks(tutorial)) if block.file]
    assert {"demo.log", "client.mjs", "book.jsonl", "service.py"} <= set(files)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [file for file in files if f"/{file}" not in ignored] == []


def test_its_numbers_are_those_of_the_benchmarks() -> None:
    table = README.split("## How fast it is")[1].split("\n## ")[0].split("\n| --- ")[1]
    measured = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    numbers = re.findall(r"\b\d+\.\d+\b", table)
    assert len(numbers) > 10
    assert [number for number in numbers if not re.search(rf"\b{re.escape(number)}\b", measured)] == []
