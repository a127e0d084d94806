"""Every block of the README works when pasted into a real shell, and prints what the README shows."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from depthcast.runtime.embedded import free_port
from depthcast.shared.instruments import parse_toml
from tests.environment import without_settings
from tests.waiting import eventually_sync

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEADLINE_S = 60.0
INSTALL_DEADLINE_S = 600.0

REDIS_CLI = """\
#!{python}
import sys
import redis
assert sys.argv[1] == "-p"
print(redis.Redis(port=int(sys.argv[2]), protocol=2).execute_command(*sys.argv[3:]).decode())
"""
"""Replaces redis-cli if there is none."""


class Block(NamedTuple):
    language: str
    text: str
    file: str
    """The file name of a program, from the text before it."""


def use_it() -> list[Block]:
    """The blocks of the steps, in order."""
    steps = README.split("## Use it")[1].split("### ")[0]
    found = re.findall(r"([^`]*(?:`[^`\n]+`[^`]*)*)```(\w+)\n(.*?)^```$", steps, re.MULTILINE | re.DOTALL)
    return [Block(language, text, _file(before)) for before, language, text in found]


def _file(before: str) -> str:
    saved = re.findall(r"Save this as `([\w.]+)`", before)
    return saved[-1] if saved else ""


class Terminal:
    """A shell that runs one block after the other and keeps all output."""

    def __init__(self, folder: Path, redis_port: int, gateway_port: int) -> None:
        self.folder = folder
        self.ports = {"6379": str(redis_port), "8080": str(gateway_port)}
        self._log = folder / "terminal.log"
        self._pasted = 0
        environment = without_settings()
        environment["DEPTHCAST_REDIS_URL"] = f"redis://127.0.0.1:{redis_port}/0"
        environment["PATH"] = f"{folder}/tools:{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        with self._log.open("wb") as output:
            self.shell = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env={
                    name: text
                    for name, text in environment.items()
                    if not name.startswith(("MAKE", "MFLAGS"))
                },
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def own_ports(self, text: str) -> str:
        """The text with this test's ports in place of the README's."""
        return re.sub("|".join(self.ports), lambda found: self.ports[found[0]], text)

    def paste(self, text: str) -> str:
        """Run a block and return its output. Its last command must succeed."""
        before = len(self.printed())
        self._pasted += 1
        mark = f"pasted {self._pasted}: "
        assert self.shell.stdin is not None
        self.shell.stdin.write(f"{self.own_ports(text)}\necho '{mark}'$?\n")
        self.shell.stdin.flush()
        pattern = re.compile(rf"^{mark}(\d+)$", re.MULTILINE)
        found = eventually_sync(
            lambda: pattern.search(self.printed()), DEADLINE_S, f"the end of {text!r} after {self.printed()}"
        )
        assert found is not None
        assert found[1] == "0", self.printed()
        return self.printed()[before:]

    def printed(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def background(self, *command: str) -> Iterator[Path]:
        """Run a program in the folder and end it by Ctrl-C; yields the file with its output."""
        output = self.folder / f"{command[-1]}.log"
        with output.open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield output
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(DEADLINE_S)
            finally:
                process.kill()
                process.wait()

    def close(self) -> None:
        os.killpg(self.shell.pid, signal.SIGKILL)
        with self.shell:  # closes its pipe and waits
            pass


needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the steps wait for the gateway with curl"
)

EXPECTED = {
    "readyz": '"ready": true, "draining": false, "symbols": 1, "stale": 0',
    "watch": "BTC-USD 65000.10 x 0.005 | 65000.20 x 0.007",
    "client.py": "[(6500011, 3), (6500010, 5)] [(6500020, 7)]",
    "service.py": "[(6500011, 3), (6500010, 5)] [(6500020, 7)]",
}
"""Expected output, by a word in the block or by the program's name."""


@contextmanager
def terminal_in(folder: Path) -> Iterator[Terminal]:
    tools = folder / "tools"
    tools.mkdir()
    if shutil.which("redis-cli") is None:
        (tools / "redis-cli").write_text(REDIS_CLI.format(python=sys.executable), encoding="utf-8")
        (tools / "redis-cli").chmod(0o755)
    terminal = Terminal(folder, free_port(), free_port())
    try:
        yield terminal
    finally:
        terminal.close()


def follow_the_steps(terminal: Terminal, *, install: bool) -> None:
    """Paste every block in order, run every program, check each output, and check that nothing is left."""
    seen = set()
    for block in use_it():
        if block.language == "python":
            seen.add(block.file)
            run_program(terminal, block)
            continue
        printed = terminal.paste(block.text if install else block.text.replace("make install\n", ""))
        for word in ("readyz", "watch"):
            if word in block.text:
                assert EXPECTED[word] in printed
                seen.add(word)
    assert seen == EXPECTED.keys()
    assert "Traceback" not in terminal.printed()
    assert "depthcast" not in terminal.paste("jobs -r")
    assert [port for port in terminal.ports.values() if listens(int(port))] == []


def run_program(terminal: Terminal, block: Block) -> None:
    """Save it under its name, run it with the environment's Python, and end it once it printed the book."""
    assert f"python {block.file}" in README
    (terminal.folder / block.file).write_text(terminal.own_ports(block.text), encoding="utf-8")
    with terminal.background(str(terminal.folder / ".venv/bin/python"), "-u", block.file) as output:
        eventually_sync(
            lambda: EXPECTED[block.file] in output.read_text(encoding="utf-8"),
            DEADLINE_S,
            f"{block.file} prints the book",
        )


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@needs_curl
def test_the_steps_work_as_pasted(tmp_path: Path) -> None:
    # What `make install` makes is the environment that runs this test; making one is the part of the test
    # below.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with terminal_in(tmp_path) as terminal:
        follow_the_steps(terminal, install=False)


@needs_curl
@pytest.mark.deep
@pytest.mark.timeout(INSTALL_DEADLINE_S)
def test_the_steps_work_in_a_fresh_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.integration.test_readme.DEADLINE_S", INSTALL_DEADLINE_S)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    with terminal_in(clone) as terminal:
        follow_the_steps(terminal, install=True)


def test_the_instruments_are_what_the_text_says() -> None:
    (toml,) = re.findall(r"instruments\.toml <<'EOF'\n(.*?)^EOF$", README, re.MULTILINE | re.DOTALL)
    (instrument,) = parse_toml(toml).values()
    assert (instrument.symbol, instrument.tick_size, instrument.lot_size) == ("BTC-USD", "0.01", "0.001")


def test_git_and_linters_ignore_what_the_steps_write() -> None:
    files = re.findall(r"^cat > (\S+) <<", README, re.MULTILINE)
    files += [block.file for block in use_it() if block.file]
    assert len(files) == 4
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [file for file in files if f"/{file}" not in ignored] == []


def shape(line: str) -> str:
    """A line with N for each number."""
    return re.sub(r"\d+(?:\.\d+)?", "N", line)


@pytest.mark.slow
def test_the_demo_prints_lines_like_those_shown() -> None:
    (shown,) = re.findall(r"```text\n(BTC-USD .*?)```", README, re.DOTALL)
    ended = subprocess.run(
        [sys.executable, "-m", "depthcast", "demo", "--port", "0", "--seconds", "2"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert [shape(line) for line in shown.splitlines()] == [
        shape(line) for line in ended.stdout.splitlines()[-2:]
    ]
