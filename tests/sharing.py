"""How the processes of a test run share its work: what each begins with, and what only one of them makes."""

import fcntl
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


def slow_first(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Order tests so that each process begins with slow ones.

    `--dist worksteal` gives each process one stretch of the list; who is done takes from the end of the
    longest queue. So each stretch begins with its share of the tests marked `slow`. Those of a file may have
    fixtures in common, and stay together. Otherwise the order remains.
    """
    groups: dict[str, list[pytest.Item]] = defaultdict(list)
    quick: list[pytest.Item] = []
    for item in items:
        if item.get_closest_marker("slow"):
            groups[str(item.path)].append(item)
        else:
            quick.append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(shares, key=len).extend(group)
    ordered: list[pytest.Item] = []
    for number, share in enumerate(shares):
        stretch = (len(items) - len(ordered)) // (processes - number)
        room = max(stretch - len(share), 0)
        ordered += [*share, *quick[:room]]
        del quick[:room]
    return ordered


class Once:
    """Makes things that all processes of a test run use: the first that needs one makes it, others wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, make: Callable[[Path], Path]) -> Path:
        """The path that `make` returned, of something it made in the folder it was given."""
        self._folder.mkdir(exist_ok=True)
        note = self._folder / f"{name}.txt"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                made = self._folder / name
                made.mkdir(exist_ok=True)  # it is there if somebody failed
                note.write_text(str(make(made)), encoding="utf-8")
        return Path(note.read_text(encoding="utf-8"))
