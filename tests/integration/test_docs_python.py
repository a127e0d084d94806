"""Every program of docs/python.md works as pasted, and prints what a live market has."""

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.integration.python_market import PythonMarket, python_market
from tests.waiting import TIMEOUT_S, eventually

ROOT = Path(__file__).parents[2]
PROGRAMS = dict(
    re.findall(
        r"[Ss]ave this as `([\w.]+)`:\n\n```python\n(.*?)^```$",
        (ROOT / "docs" / "python.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
PRINTED = {
    "follow.py": r"BTC-USD live 65000\.10 x 0\.005 \| 65000\.20 x 0\.007\n",
    "script.py": r"best bid 65000\.10\none update: BookUpdate\(symbol='BTC-USD'.*\nBTC-USD \d+ live\n",
    "frames.py": r"65000\.10 +0\.005(.|\n)*notional [5-8]\d{3}\.\d{5}\n(.|\n)*"
    r"decimal\[38,2\]",
    "service_place.py": r"BTC-USD snapshot (\d+) (.|\n)*"
    r"BTC-USD delta (\d+) Prices\(bids=\[\(Decimal\('64999\.70'\)",
}


class Program:
    """A program of the document with the addresses of a test's market, while it runs."""

    def __init__(self, name: str, market: PythonMarket, folder: Path) -> None:
        text = PROGRAMS[name].replace("http://127.0.0.1:8080", market.gateway.url)
        text = text.replace('"redis://127.0.0.1:6379/0"', f'"{market.redis_url}", prefix="{market.prefix}"')
        (folder / name).write_text(text, encoding="utf-8")
        self.name = name
        self.folder = folder

    async def run(self) -> str:
        """Run it until it has printed what it should; returns all that it printed."""
        path = self.folder / f"{self.name}.log"
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-u",
                self.name,
                cwd=self.folder,
                env={**without_settings(), "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        try:
            await eventually(
                lambda: (
                    re.search(PRINTED[self.name], path.read_text(encoding="utf-8"))
                    or process.returncode is not None
                )
            )
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()
        printed = path.read_text(encoding="utf-8")
        assert re.search(PRINTED[self.name], printed), printed
        return printed


def test_each_program_of_the_document_is_known() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert text.count("```python\n") == len(PROGRAMS)
    assert PROGRAMS.keys() == PRINTED.keys()


@pytest.mark.slow
async def test_the_programs_work_as_pasted(run: Run, tmp_path: Path) -> None:
    async with python_market(run) as market:
        programs = [Program(name, market, tmp_path) for name in PROGRAMS]
        await asyncio.gather(*(program.run() for program in programs))
        (place,) = (program for program in programs if program.name == "service_place.py")
        first = seqs((tmp_path / "service_place.py.log").read_text(encoding="utf-8"))
        PRINTED[place.name] = r"BTC-USD (\w+) (\d+) Prices"
        second = seqs(await place.run())
        assert second[0] > first[-1], "it goes on where it ended"


def seqs(printed: str) -> list[int]:
    return [int(seq) for seq in re.findall(r"^BTC-USD \w+ (\d+) ", printed, re.MULTILINE)]
