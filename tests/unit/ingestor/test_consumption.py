"""How long input waits: what is observed of a batch and of a publish."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from depthcast.ingestor.runtime.consumption import Consumption
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.position import Position
from depthcast.shared.runtime.stages import Stage

NOW_US = 1_769_904_000_000_000


class Scene:
    """A clock that the test moves, and what was observed."""

    def __init__(self) -> None:
        self.s = 100.0
        self.seen: list[tuple[Stage, float]] = []
        environment = replace(
            REAL_ENVIRONMENT, now_us=lambda: NOW_US + int(self.s * 1e6), monotonic=lambda: self.s
        )
        self.consumption = Consumption(4, PartitionStats(observe=self._observe), environment)

    def _observe(self, stage: Stage, partition: int, seconds: float) -> None:
        assert partition == 4
        self.seen.append((stage, round(seconds, 6)))

    def take(self) -> list[tuple[Stage, float]]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_oldest_entry_of_a_batch_waited_by_the_servers_clock(scene: Scene) -> None:
    scene.consumption.begin_batch(Position(5_000, 0), 5_300_000.0)
    assert scene.take() == [], "nothing waits for it"
    scene.consumption.begin_batch(Position(5_000, 0), None)
    assert scene.take() == [(Stage.INPUT_TO_CONSUMED, 0.3)]
    scene.consumption.begin_batch(Position(5_000, 0), None)
    assert scene.take() == [], "nobody knows what time it is there"
    scene.consumption.begin_batch(Position(5_000, 0), 5_400_000.0)
    scene.consumption.publish(scene.consumption.drain([]), "7-0")
    assert scene.take() == [(Stage.INPUT_TO_CONSUMED, 0.4)], "at the latest with the publish"


def test_a_publish_is_as_late_as_its_first_input(scene: Scene) -> None:
    for s in (101.0, 101.5, 102.0):
        scene.s = s
        scene.consumption.begin_entry()
    drained = scene.consumption.drain([None])
    scene.consumption.begin_entry()  # while it is written, more is consumed
    scene.s = 103.0
    scene.consumption.publish(drained, "7-0")
    assert scene.take() == [(Stage.CONSUMED_TO_PUBLISHED, 2.0)]
    scene.s = 104.0
    scene.consumption.publish(scene.consumption.drain([]), "7-0")
    assert scene.take() == [(Stage.CONSUMED_TO_PUBLISHED, 2.0)]


def test_a_publish_without_input_is_not_observed(scene: Scene) -> None:
    scene.consumption.publish(scene.consumption.drain([None, None]), "7-0")
    assert scene.take() == []


def test_the_newest_source_time_counts_up_to_its_batch(scene: Scene) -> None:
    scene.consumption.begin_batch(Position(1, 0), None)
    scene.s += 5
    drained = scene.consumption.drain([NOW_US + 99_000_000, None, NOW_US + 99_750_000])
    assert scene.take() == []
    scene.consumption.publish(drained, "7-0")
    assert scene.take() == [(Stage.SOURCE_TO_CONSUMED, 0.25)]


def test_a_source_time_before_the_first_batch_is_not_observed(scene: Scene) -> None:
    """A leadership publishes what the one before it had consumed."""
    scene.consumption.publish(scene.consumption.drain([NOW_US]), "7-0")
    assert scene.take() == []


def test_what_is_traced_is_the_last_input_and_the_batch_that_had_it(scene: Scene) -> None:
    traced: list[tuple[object, ...]] = []
    traces: Any = SimpleNamespace(publish=lambda *words: traced.append(words))
    scene.consumption.stats.traces = traces
    scene.consumption.begin_batch(Position(1, 0), None)
    scene.consumption.begin_entry()
    drained = scene.consumption.drain([])
    scene.s = 101.0
    scene.consumption.begin_batch(Position(2, 0), None)  # while it is written, more is consumed
    scene.s = 103.0
    scene.consumption.publish(drained, "7-0")
    assert traced == [(4, "7-0", NOW_US + 100_000_000, NOW_US + 103_000_000)]
    scene.consumption.publish(scene.consumption.drain([]), "7-0")
    assert len(traced) == 1, "nothing new was in it"
