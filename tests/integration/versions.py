"""A wheel of an earlier state of this checkout, installed, and programs that run it or the present code."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from depthcast.runtime.child import Child
from depthcast.runtime.ports import HOST, free_port
from tests.environment import ROOT, without_settings
from tests.packaging.builds import environment, run, site_of
from tests.sharing import Once
from tests.waiting import eventually

EARLIER: Final = "d2ce8f04725922d250ead6a8e07c3931fe55c90f"
"""Before gateways drained, before relays, and before births came in small steps. No version has a tag."""

HOLDER: Final = """\
import asyncio, json, sys
from depthcast import Consumer, connect

kind, address, prefix, *symbols = sys.argv[1:]

def books(reader):
    held = {}
    for symbol in symbols:
        book = reader.book(symbol)
        held[symbol] = [sorted(side.top()) for side in book.sides]
    return held

async def main():
    source = Consumer(address, symbols, prefix=prefix) if kind == "consumer" else connect(address)
    async with source as reader:
        if kind == "client":
            await reader.subscribe(symbols, depth=0)
        for symbol in symbols:
            await reader.wait_for(symbol)
        async for update in reader:
            counters = getattr(reader, "counters", None)
            wrong = getattr(counters, "mismatches", 0)
            states = {symbol: reader.state(symbol).value for symbol in symbols}
            print(json.dumps([books(reader), states, wrong]), flush=True)

asyncio.run(main())
"""
"""Prints the books it holds after each update, their states, and how many books were wrong."""


@dataclass(frozen=True)
class Version:
    """The Python that runs a version, and a folder whose code comes before all that is installed there."""

    python: Path
    code: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        return without_settings() | ({} if self.code is None else {"PYTHONPATH": str(self.code)})


PRESENT: Final = Version(Path(sys.executable), ROOT)


def earlier_version(once: Once) -> Version:
    """An environment with a wheel of `EARLIER`, as for `pip install 'depthcast[server]'` of a release.

    Skips the test where the history does not have it.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no checkout with a history, so there is no earlier version")
    known = ["git", "-C", str(ROOT), "cat-file", "-e", f"{EARLIER}^{{commit}}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip(f"the history of this checkout does not reach back to {EARLIER}: git fetch --unshallow")

    def make(folder: Path) -> Path:
        archive = folder / "earlier.tar"
        subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(archive), EARLIER], check=True)
        source = folder / "source"
        shutil.unpack_archive(archive, source, filter="tar")
        python = environment(folder / "venv", wheel_of(source, folder / "wheel"), "server")
        shutil.rmtree(source)
        code = "import depthcast.gateway; print(depthcast.gateway.__file__)"
        asked = [str(python), "-P", "-c", code]
        done = subprocess.run(asked, env=without_settings(), capture_output=True, text=True, check=True)
        assert Path(done.stdout).is_relative_to(site_of(folder / "venv")), "it runs what the wheel installed"
        return python

    return Version(once("earlier-version", make))


def wheel_of(source: Path, folder: Path) -> Path:
    """Build a wheel as pip does, offline, with nothing compiled: it takes long, and changes no result."""
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *words, cwd=ROOT, DEPTHCAST_COMPILE="0")
    (made,) = folder.glob("depthcast-*.whl")
    return made


class Program:
    """A process of a version: an ingestor, a gateway, or a holder of books."""

    def __init__(self, version: Version, log: Path, *words: str, settings: Mapping[str, object]) -> None:
        self.version, self.log, self.admin = version, log, free_port()
        self._words = words
        given = {**settings, "admin_host": HOST, "admin_port": self.admin}
        self._settings = {f"DEPTHCAST_{name.upper()}": str(value) for name, value in given.items()}
        self._child: Child | None = None

    def start(self) -> None:
        variables = {**self.version.environment, **self._settings}
        with self.log.open("ab") as output:
            self._began = output.tell()
            self._child = Child([self.version.python, "-P", *self._words], output, environment=variables)

    async def answers_ready(self) -> None:
        """Wait until `/readyz` says so."""

        async def ready() -> bool:
            assert self._child is not None
            assert self._child.returncode is None, self.said()
            try:
                async with (
                    aiohttp.ClientSession() as http,
                    http.get(f"http://{HOST}:{self.admin}/readyz") as answer,
                ):
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        try:
            await eventually(ready, message="it is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.said()}") from error

    def said(self) -> str:
        """What it printed since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._began)
            return log.read().decode()

    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return None if self._child is None else self._child.returncode

    def leads(self) -> bool:
        return '"leading"' in self.said()

    def last(self) -> tuple[dict[str, Any], dict[str, str], int] | None:
        """What a holder printed last."""
        lines = self.said().splitlines(keepends=True)
        whole = [line for line in lines[-2:] if line.startswith("[") and line.endswith("\n")]
        return tuple(json.loads(whole[-1])) if whole else None

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; returns the exit status."""
        assert self._child is not None
        self._child.send(number)
        assert await asyncio.to_thread(self._child.wait, 15.0), f"it did not end: {self.said()}"
        code = self._child.returncode
        assert code is not None
        return code

    async def kill_if_running(self) -> None:
        if self._child is not None and self._child.returncode is None:
            await self.end(signal.SIGKILL)
