"""The fake gateway of `fake_gateway.mjs` as a process."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.npm import node


@contextmanager
def fake_gateway(*words: str) -> Iterator[str]:
    """The address of a fake gateway with a book of every symbol; `faults`: from the fifth connection on."""
    command = [node(), str(Path(__file__).with_suffix(".mjs")), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
