"""Pastes the blocks of a document into a real shell and runs its programs, as a reader would."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from depthcast.runtime.ports import free_port
from tests.environment import without_settings
from tests.waiting import eventually_sync

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
INSTALL_DEADLINE_S = 1200.0

REDIS_CLI = """\
#!{python}
import sys
import redis
assert sys.argv[1] == "-p"
print(redis.Redis(port=int(sys.argv[2]), protocol=2).execute_command(*sys.argv[3:]).decode())
"""
"""Replaces redis-cli if there is none."""

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the steps wait for the gateway with curl"
)


class Block(NamedTuple):
    """A fenced block. `file`: the name of a program, from the text before it, which `runs` it or not."""

    language: str
    text: str
    file: str
    runs: bool


def blocks(markdown: str) -> list[Block]:
    """Return the fenced blocks of a text, in order."""
    found = re.findall(r"([^`]*(?:`[^`\n]+`[^`]*)*)```(\w+)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    return [_block(*each) for each in found]


def _block(before: str, language: str, text: str) -> Block:
    named = re.findall(r"Save this as `([\w.]+)`", before)
    file = named[-1] if named else ""
    return Block(language, text, file, re.search(rf"run\s+`\w+ {re.escape(file)}`", before) is not None)


class Terminal:
    """A shell that runs one block after the other and keeps all output."""

    def __init__(self, folder: Path, ports: Mapping[str, int], variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.ports = {named: str(port) for named, port in ports.items()}
        self._log = folder / "terminal.log"
        self._pasted = 0
        environment = {
            name: text for name, text in without_settings().items() if not name.startswith(("MAKE", "MFLAGS"))
        }
        environment["PATH"] = f"{folder}/tools:{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        environment |= {name: self.own_ports(text) for name, text in variables.items()}
        with self._log.open("wb") as output:
            self.shell = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def own_ports(self, text: str) -> str:
        """The text with this test's ports in place of the document's."""
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

    def save(self, block: Block) -> None:
        """Save a program under its name."""
        (self.folder / block.file).write_text(self.own_ports(block.text), encoding="utf-8")

    def run_together(self, expected: Mapping[Block, str]) -> None:
        """Run programs at the same time, wait until each printed what is expected, and end them by Ctrl-C."""
        with ExitStack() as stack:
            outputs = {block: stack.enter_context(self._running(block)) for block in expected}
            for block, text in expected.items():
                eventually_sync(
                    partial(_has_printed, outputs[block], text),
                    DEADLINE_S,
                    f"{block.file} prints {text!r}",
                )

    @contextmanager
    def _running(self, block: Block) -> Iterator[Path]:
        """Run a program in the folder; yields the file with its output."""
        self.save(block)
        python = [str(self.folder / ".venv" / "bin" / "python"), "-u"]
        command = [*(python if block.language == "python" else ["node"]), block.file]
        output = self.folder / f"{block.file}.log"
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

    def assert_nothing_is_left(self) -> None:
        assert "Traceback" not in self.printed()
        assert "depthcast" not in self.paste("jobs -r")
        assert [port for port in self.ports.values() if _listens(int(port))] == []


@contextmanager
def terminal_in(folder: Path, ports: tuple[str, ...], variables: Mapping[str, str]) -> Iterator[Terminal]:
    """A shell in a folder, with free ports in place of those that the document names."""
    tools = folder / "tools"
    tools.mkdir()
    if shutil.which("redis-cli") is None:
        (tools / "redis-cli").write_text(REDIS_CLI.format(python=sys.executable), encoding="utf-8")
        (tools / "redis-cli").chmod(0o755)
    terminal = Terminal(folder, {port: free_port() for port in ports}, variables)
    try:
        yield terminal
    finally:
        terminal.close()


def use_this_environment(folder: Path) -> None:
    """What `make install` makes is the environment that runs this test; making one is another test's part."""
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "web").symlink_to(ROOT / "web")


def without_install(text: str) -> str:
    return text.replace("make install\n", "")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _has_printed(output: Path, text: str) -> bool:
    return text in output.read_text(encoding="utf-8")
