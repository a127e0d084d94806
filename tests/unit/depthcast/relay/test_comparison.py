"""What a relay does, by the end of a copy and what its source says."""

import pytest

from depthcast.relay.comparison import (
    End,
    Entry,
    Verdict,
    compare,
    goes_on,
    parts,
    symbols_to_copy,
    written_us,
)
from depthcast.shared.codec import encode_info
from depthcast.shared.position import ZERO, Position
from depthcast.shared.types import EntryInfo


def entry(epoch: int, n: int, prev: str | None = None, **symbols: bytes) -> Entry:
    info = encode_info(EntryInfo(1, "0-0", 0, 0, 0, prev=prev))
    return Position(epoch, n), [
        (b"_", info),
        *((name.encode(), raw) for name, raw in symbols.items()),
        (b"_w", b"77"),
    ]


OURS = entry(5, 3, A=b"x")
SAME_ID = entry(5, 3, A=b"y")
END = End(OURS[0], OURS)


@pytest.mark.parametrize(
    ("end", "held", "behind", "oldest", "verdict"),
    [
        (End(ZERO, None), None, None, None, Verdict.WAIT),
        (END, None, None, None, Verdict.WAIT),
        (End(ZERO, None), None, entry(1, 0, "0-0"), entry(1, 0, "0-0"), Verdict.REPLACE),
        (END, OURS, None, entry(5, 0), Verdict.APPEND),
        (END, SAME_ID, entry(5, 4), entry(5, 0), Verdict.REPLACE),
        (End(Position(5, 4), OURS), OURS, None, OURS, Verdict.REPLACE),
        (END, None, entry(5, 4), entry(5, 4), Verdict.APPEND),
        (END, None, entry(5, 5), entry(5, 5), Verdict.REPLACE),
        (END, None, entry(9, 0, "5-3"), entry(9, 0, "5-3"), Verdict.APPEND),
        (END, None, entry(9, 0, "5-2"), entry(5, 2), Verdict.REPLACE),
        (END, None, None, entry(5, 2), Verdict.REPLACE),
    ],
)
def test_a_copy_goes_on_only_from_an_entry_that_it_shares(
    end: End, held: Entry | None, behind: Entry | None, oldest: Entry | None, verdict: Verdict
) -> None:
    assert compare(end, held, behind, oldest) is verdict


def test_what_no_leader_wrote_goes_on_from_nothing() -> None:
    assert goes_on(entry(5, 4), Position(5, 3))
    assert not goes_on((Position(5, 4), [(b"A", b"x")]), Position(5, 3))


def test_snapshots_come_first_of_what_is_born_or_unknown() -> None:
    birth, other = b"\x97\x00\x01", b"\x96\x01\x02"
    entries = [entry(5, 1, OLD=other, NEW=other), entry(5, 2, BORN=birth)]
    assert symbols_to_copy(entries, {"OLD", "BORN"}) == ["NEW", "BORN"]
    assert symbols_to_copy(entries[:1], {"OLD", "NEW"}) == []


def test_steps_are_of_limited_size_but_never_empty() -> None:
    entries = [entry(5, n, A=b"x" * size) for n, size in enumerate((10, 10, 5000, 10))]
    assert [[position.n for position, _ in part] for part in parts(entries, 200)] == [[0, 1], [2], [3]]
    assert list(parts([], 200)) == []


def test_when_the_newest_entry_was_written_that_says_so() -> None:
    assert written_us([entry(5, 1), (Position(5, 2), [])]) == 77
    assert written_us([(Position(5, 2), [])]) is None
