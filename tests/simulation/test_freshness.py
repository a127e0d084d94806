"""The audit of freshness notices old books that a reader takes for live."""

from depthcast.shared.codec import encode_info
from depthcast.shared.types import EntryInfo
from tests.simulation.freshness import FreshnessAudit
from tests.simulation.journal import Journal
from tests.simulation.producers import KEYS
from tests.simulation.streams import Id


class Scene:
    """One partition; the test sets the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.problems: list[str] = []
        self.journal = Journal()
        keys = KEYS.partition(0)
        self.deltas, self.events = keys.deltas.encode(), keys.events.encode()
        self.audit = FreshnessAudit([keys], self.journal, lambda: self.now, self.problems.append)

    def add(self, key: bytes, stream_id: Id, fields: list[bytes]) -> None:
        self.journal.appended(key, stream_id, fields)
        self.audit.appended(key, stream_id, fields)

    def publish(self, n: int, src: str, lost: int | None = None) -> None:
        self.add(self.deltas, (5, n), [b"_", encode_info(EntryInfo(1, src, 0, 0, 0, lost=lost)), b"_w", b"1"])

    def look(self) -> list[str]:
        """What is wrong if a reader says live now."""
        self.problems.clear()
        self.audit.check_live("reader", 0, 1000, 2000)
        return list(self.problems)


def test_a_stream_that_was_written_long_ago() -> None:
    scene = Scene()
    assert len(scene.look()) == 1, "never written"
    scene.publish(0, "0-0")
    scene.now += 1.5
    assert scene.look() == []
    scene.now += 0.5
    assert "2.000 s after it was last written" in scene.look()[0]


def test_input_that_waits_long() -> None:
    scene = Scene()
    for number in (1, 2):
        scene.add(scene.events, (number, 0), [b"A", b"[]"])
    scene.now += 6.0
    for n, src in enumerate(("0-0", "1-0")):
        scene.publish(n, src)
        assert "waited for 6.000 s" in scene.look()[0]
    scene.publish(2, "2-0")
    assert scene.look() == []


def test_input_that_was_never_lost() -> None:
    scene = Scene()
    scene.publish(0, "0-0", lost=2)
    assert "2 input entries were lost" in scene.problems[0]
