"""What a leader says about its input in every entry, in its metrics and in its log."""

import asyncio
from typing import Any

import pytest

from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Receipt
from depthcast.ingestor.runtime.input_watch import InputWatch
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import RawEntry
from depthcast.shared.types import EntryInfo

AHEAD_US = 86_400_000_000
"""The server's clock is a day ahead of 1970, where this reader's monotonic clock begins."""


class Writer:
    """A publisher that has received the end of the input log."""

    def __init__(self) -> None:
        self.partition = 3
        self.keys = DeploymentKeys("test").partition(3)
        self.receipt: Receipt | None = None

    def receive_end(self, end: Position, added: int) -> None:
        now = asyncio.get_running_loop().time()
        self.receipt = Receipt(now, now, int(now * 1e6) + AHEAD_US, end, added)

    def now_ms(self) -> int:
        return (int(asyncio.get_running_loop().time() * 1e6) + AHEAD_US) // 1000


def broadcast(src: Position) -> Broadcast:
    return Broadcast(EntryInfo(1, str(src), 0, 0, 0), ())


def batch(*positions: Position) -> list[RawEntry]:
    return [(position, []) for position in positions]


def watching(writer: Writer, stats: PartitionStats, info: EntryInfo) -> InputWatch:
    made: Any = writer
    return InputWatch(made, stats, info)


async def test_every_broadcast_of_a_publish_has_the_lag_after_the_last_of_them() -> None:
    writer, stats = Writer(), PartitionStats()
    now = writer.now_ms()
    old, one, two, three = (Position(now - ago, 0) for ago in (9000, 4000, 3000, 2000))
    writer.receive_end(old, 50)
    watch = watching(writer, stats, EntryInfo(1, str(old), 0, 0, 0, entries=50))
    watch.record_read(batch(one, two, three), watch.begin_read())
    found = [made.info for made in watch.stamp([broadcast(one), broadcast(two)])]
    assert [(info.entries, info.lost) for info in found] == [(51, None), (52, None)]
    assert [info.lag_ms for info in found] == [pytest.approx(2000, abs=500)] * 2
    assert stats.input_lag_s == pytest.approx(2, abs=0.5)
    (heartbeat,) = watch.stamp([broadcast(two)], str(three))
    assert (heartbeat.info.lag_ms, heartbeat.info.entries) == (0, 52)


async def test_lag_is_not_said_before_the_server_has_told_its_time() -> None:
    stats = PartitionStats(input_lag_s=5.0)
    watch = watching(Writer(), stats, EntryInfo(1, "0-0", 0, 0, 0))
    (made,) = watch.stamp([broadcast(Position(0, 0))])
    assert (made.info.lag_ms, made.info.entries, made.info.lost) == (None, None, None)
    assert stats.input_lag_s == 0.0


async def test_what_was_lost_is_said_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    writer, stats = Writer(), PartitionStats()
    now = writer.now_ms()
    old, late = Position(now - 9000, 0), Position(now, 0)
    writer.receive_end(late, 60)
    watch = watching(writer, stats, EntryInfo(1, str(old), 0, 0, 0, entries=50, lost=4))
    assert stats.input_lost == 4
    watch.record_read(batch(late), watch.begin_read())
    (made,) = watch.stamp([broadcast(late)])
    assert (made.info.entries, made.info.lost, stats.input_lost) == (60, 13, 13)
    (record,) = caplog.records
    assert (record.levelname, vars(record)["entries"]) == ("ERROR", 9)
    assert vars(record)["key"] == writer.keys.events
    assert stats.lost_entries == 9, "what this process found"
    watch.record_publish()
    assert len(caplog.records) == 1, "the same reply says nothing new"


async def test_a_log_that_began_again_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    writer, stats = Writer(), PartitionStats()
    old = Position(writer.now_ms() - 9000, 0)
    writer.receive_end(old, 1)
    watching(writer, stats, EntryInfo(1, str(old), 0, 0, 0, entries=50))
    assert ["began again" in record.message for record in caplog.records] == [True]
    assert stats.input_lost == 0
