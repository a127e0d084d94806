"""A fold before anything was published, and the values in its errors."""

import pytest

from depthcast.broadcaster.numbering import ORIGIN_MS, first_seq
from depthcast.ingestor.recovery import Republication, StateFold
from depthcast.shared.codec import encode_delta, encode_info
from depthcast.shared.errors import RecoveryError
from depthcast.shared.position import ZERO, Position
from depthcast.shared.types import Delta, EntryInfo, Snapshot

EPOCH = ORIGIN_MS + 40_000_000_000
FIRST = first_seq(EPOCH, 0)
INFO = EntryInfo(1, "7-0", 3, 2, 1)

Entry = tuple[Position, list[tuple[bytes, bytes]]]


def entry(n: int, **deltas: Delta) -> Entry:
    fields = [(name.encode(), encode_delta(delta)) for name, delta in deltas.items()]
    return Position(EPOCH, n), [(b"_", encode_info(INFO)), *fields]


def birth() -> Delta:
    return Delta(0, FIRST, [], [], 0, 0)


def test_nothing_was_published_says_so() -> None:
    assert StateFold(0, ZERO, {}).info == EntryInfo(0, "0-0", 0, 0, 0)


def test_nothing_is_said_again_unless_it_was_lost() -> None:
    assert list(Republication().rejects) == []


def test_every_symbol_that_appears_is_returned_whatever_its_entry() -> None:
    fold = StateFold(0, Position(EPOCH, 5), {})
    assert fold.add([entry(6, A=birth(), B=birth()), entry(7), entry(8, C=birth())]) == ["A", "B", "C"]
    assert fold.add([entry(9, D=birth())]) == ["D"]
    assert fold.info == INFO


def test_what_cannot_be_followed_is_named_with_its_reason() -> None:
    fold = StateFold(3, Position(EPOCH, 5), {"A": (Position(EPOCH, 5), Snapshot(FIRST, [], [], 0, 0))})
    with pytest.raises(RecoveryError) as caught:
        fold.add([entry(6, A=Delta(FIRST + 1, FIRST + 2, [], [], 0, 1))])
    assert caught.value.partition == 3
    assert caught.value.problem == f"A: gap at seq {FIRST}, delta {FIRST + 1} to {FIRST + 2}"


@pytest.mark.parametrize(("tail", "instruments"), [(5, ["A"]), (9, [])])
def test_a_refusal_at_the_end_names_its_partition(tail: int, instruments: list[str]) -> None:
    fold = StateFold(3, Position(EPOCH, 5), {})
    with pytest.raises(RecoveryError) as caught:
        fold.finish(Position(EPOCH, tail), INFO, instruments)
    assert caught.value.partition == 3


def test_the_first_seq_of_all_is_registered() -> None:
    """Before `ORIGIN_MS` a symbol begins with seq 1."""
    early = Position(5, 0)
    fold = StateFold(0, early, {"A": (early, Snapshot(1, [], [], 0, 0))})
    assert set(fold.last_registered()) == {"A"}
