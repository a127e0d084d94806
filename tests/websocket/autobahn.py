"""Runs the cases of the Autobahn test suite against an echo: `python -m tests.websocket.autobahn [CASE…]`.

Prints a row for each section, and a line for each case that is not simply right; status 1: one failed.
kosoku, a port of the suite, changes a function of the standard library, so it has a process of its own.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from depthcast.runtime.server import open_server
from tests.websocket.echo import running_echo

ROOT: Final = Path(__file__).parents[2]
SECTIONS: Final = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*")
"""All there are: 8 and 11 do not exist."""

FAILED: Final = frozenset({"FAILED", "ERROR", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"})
"""Verdicts on messages or closing that break the RFC; NON-STRICT, INFORMATIONAL and UNIMPLEMENTED do not."""


class Result(NamedTuple):
    """How a case went: the suite's verdicts on the messages and on the closing handshake, and its reasons."""

    case: str
    messages: str
    closing: str
    reason: str

    @property
    def section(self) -> str:
        return self.case.partition(".")[0]

    @property
    def failed(self) -> bool:
        return not FAILED.isdisjoint((self.messages, self.closing))

    @property
    def verdict(self) -> str:
        return self.closing if self.messages == "OK" else self.messages


def run(url: str, cases: Sequence[str] = SECTIONS) -> list[Result]:
    """The results of `cases`, each of which may have a `*` at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.websocket.autobahn", "--client", url, *cases],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Result(*json.loads(line)) for line in done.stdout.splitlines()]


def report(results: Iterable[Result]) -> str:
    """A row for each section, then a line for each case that is not simply right."""
    rows, remarks = ["section  cases  verdicts"], []
    for section, group in groupby(results, key=lambda result: result.section):
        found = list(group)
        counts = Counter(result.verdict for result in found)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        rows.append(f"{section:>7}  {len(found):>5}  {verdicts}")
        remarks += [
            f"{result.case}: {result.messages}, closing {result.closing}: {result.reason}"
            for result in found
            if result.verdict not in ("OK", "UNIMPLEMENTED")
        ]
    return "\n".join([*rows, "", *remarks])


async def client(url: str, cases: Sequence[str]) -> None:
    """Print a line of JSON for each result."""
    from kosoku import FailureError, run_fuzzingclient

    try:
        results = await run_fuzzingclient(url, cases, concurrency=os.cpu_count() or 1)
    except FailureError as failure:
        results = failure.results
    for result in results:
        line = (result.case_id, result.behavior.value, result.behavior_close.value, result.result)
        sys.stdout.write(json.dumps(line) + "\n")


def main(cases: Sequence[str]) -> int:
    """Start a server, a gateway with an echo and the suite; returns the status."""
    with open_server(os.environ.get("DEPTHCAST_TEST_REDIS_URL")) as redis_url, running_echo(redis_url) as url:
        results = run(url, cases or SECTIONS)
    sys.stdout.write(report(results) + "\n")
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        asyncio.run(client(sys.argv[2], sys.argv[3:]))
        sys.stdout.flush()
        os._exit(0)  # a thread of the suite that still wants the interpreter while it ends aborts the process
    else:
        sys.exit(main(sys.argv[1:]))
