"""When the garbage collector runs. In processes of their own, because its settings are the process's."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc
from depthcast.shared.runtime import garbage_collection
garbage_collection.COLLECT_AFTER = 100
garbage_collection.collect_garbage_less_often()
{also}
counts = [generation["collections"] for generation in gc.get_stats()]
kept = [[] for _ in range(20_000)]
print(*(after["collections"] - before for before, after in zip(counts, gc.get_stats())))
"""


def collections(also: str) -> list[int]:
    """How often each generation is collected while 20,000 objects are made."""
    program = PROGRAM.format(also=also)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python collects old objects a few at a time")
def test_old_objects_are_walked_through_only_when_asked() -> None:
    young, middle, old = collections("garbage_collection.collect_old_garbage_only_when_asked()")
    assert young > 100
    assert middle > 10
    assert old == 0


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python collects old objects a few at a time")
def test_otherwise_old_objects_are_walked_through_when_many_are_new() -> None:
    assert collections("")[2] > 0
