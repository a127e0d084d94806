"""Times of entries in a gateway: which are observed, and when."""

from types import SimpleNamespace
from typing import Any

from depthcast.gateway.runtime.entry_times import EntryTimes
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, Written
from depthcast.shared.runtime.stages import Stage
from depthcast.shared.types import EntryInfo

NEW = Written(us=5, lag_ms=0, is_new=True)
CHANGES: Any = ["an update"]


class Scene:
    """Clocks that the test moves, and what was observed."""

    def __init__(self, traces: Any = None) -> None:
        self.s = 10.0
        self.seen: list[tuple[Stage, int, float]] = []
        self.times = EntryTimes(
            lambda *observed: self.seen.append(observed),
            lambda: int(self.s * 1e6),
            traces,
            monotonic=lambda: self.s,
        )

    def read(self, written: Written | None = NEW, updates: Any = CHANGES, **info: Any) -> None:
        entry = AppliedEntry(Position(1, 1), EntryInfo(1, "1-0", 1, 0, 0, **info), updates, written)
        self.times.read(7, entry, 0.25, self.s)


def test_an_entry_is_observed_once_it_is_flushed_so_that_its_flush_does_not_wait() -> None:
    scene = Scene()
    scene.read(event_ts=9_000_000)
    assert scene.seen == []
    scene.s = 10.5
    scene.times.flush()
    assert scene.seen == [
        (Stage.PUBLISHED_TO_READ, 7, 0.25),
        (Stage.READ_TO_WRITTEN, 7, 0.5),
        (Stage.SOURCE_TO_WRITTEN, 7, 1.5),
    ]
    scene.times.flush()
    assert len(scene.seen) == 3, "each once"


def test_without_a_source_time_there_is_none_to_observe() -> None:
    scene = Scene()
    scene.read()
    scene.times.flush()
    assert [stage for stage, _, _ in scene.seen] == [Stage.PUBLISHED_TO_READ, Stage.READ_TO_WRITTEN]


def test_a_heartbeat_is_read_and_not_written() -> None:
    scene = Scene()
    scene.read(updates=[], event_ts=9_000_000)
    scene.times.flush()
    assert [stage for stage, _, _ in scene.seen] == [Stage.PUBLISHED_TO_READ]


def test_what_was_written_before_this_reader_came_does_not_count() -> None:
    scene = Scene()
    scene.read(NEW._replace(is_new=False))
    scene.read(None)
    scene.times.read(7, AppliedEntry(Position(1, 1), None, CHANGES, NEW), 0.25, scene.s)
    scene.times.flush()
    assert scene.seen == []


def test_an_entry_of_unknown_age_is_written_all_the_same() -> None:
    scene = Scene()
    entry = AppliedEntry(Position(1, 1), EntryInfo(1, "1-0", 1, 0, 0), CHANGES, NEW)
    scene.times.read(7, entry, None, scene.s)
    scene.times.flush()
    assert [stage for stage, _, _ in scene.seen] == [Stage.READ_TO_WRITTEN]


def test_what_is_traced_is_the_last_input_with_its_times() -> None:
    traced: list[tuple[object, ...]] = []
    scene = Scene(SimpleNamespace(deliver=lambda *words: traced.append(words)))
    scene.read()
    scene.s = 10.5
    scene.times.flush()
    assert traced == [(7, "1-0", (5, 10_000_000, 10_500_000))]
