"""Each process of a test run begins with its share of the slow tests, and what all use is made once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sharing import Once, slow_first


def item(path: str, number: int, *, slow: bool = False) -> Any:
    return SimpleNamespace(
        path=Path(path), number=number, get_closest_marker=lambda name: slow and name == "slow"
    )


def shares(items: list[Any], processes: int) -> list[list[Any]]:
    """The stretches of equal length that `--dist worksteal` gives to the processes."""
    left, found = list(items), []
    for number in range(processes):
        count = len(left) // (processes - number)
        found.append(left[:count])
        del left[:count]
    return found


@pytest.mark.parametrize("processes", [1, 3, 4])
def test_slow_tests_begin_each_share_and_those_of_a_file_stay_together(processes: int) -> None:
    items = [item("quick", number) for number in range(50)]
    items += [item("long", number, slow=True) for number in range(5)]
    items += [item(f"slow{number}", number, slow=True) for number in range(5)]
    ordered: list[Any] = list(slow_first(items, processes))
    assert sorted(map(id, ordered)) == sorted(map(id, items)), "none is lost, none comes twice"
    assert [it.number for it in ordered if it.path == Path("quick")] == list(range(50))
    counts = []
    for share in shares(ordered, processes):
        slow = [bool(it.get_closest_marker("slow")) for it in share]
        assert slow == sorted(slow, reverse=True), "slow tests come first"
        counts.append(sum(slow))
        of_file = [it for it in share if it.path == Path("long")]
        assert len(of_file) in (0, 5)
    assert max(counts) - min(counts) <= 5
    assert sum(counts) == 10


def test_more_slow_tests_than_a_share_are_all_there() -> None:
    items = [item("a", number, slow=True) for number in range(6)]
    assert slow_first(items, 4) == items
    assert slow_first([], 4) == []


def test_what_all_use_is_made_once(tmp_path: Path) -> None:
    made = []

    def make(folder: Path) -> Path:
        made.append(folder)
        (folder / "it").write_text("it")
        return folder / "it"

    def use(number: int) -> Path:
        return Once(tmp_path / "once")(f"thing-{number % 2}", make)

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(use, range(16)))
    assert {path.read_text() for path in found} == {"it"}
    assert len(made) == len(found) == 2


def test_what_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    def fail(_: Path) -> Path:
        raise NotADirectoryError

    once = Once(tmp_path / "once")
    with pytest.raises(NotADirectoryError):
        once("it", fail)
    assert once("it", lambda folder: folder).is_dir()
