"""Which server a partition is read from, by what the servers say."""

import pytest

from depthcast.shared.position import Position
from depthcast.shared.replica_choice import (
    AGAIN_LAG_MS,
    AGAIN_S,
    AWAY,
    BEHIND,
    HISTORY,
    LINK,
    Compared,
    Lag,
    Missing,
    ReplicaChoice,
    Report,
    link_problem,
    missing_of,
)

A, B = ("a", 1), ("b", 2)
GOOD = Report("", lag_ms=0)
REPLICA = {"role": "slave", "master_link_status": "up", "master_sync_in_progress": 0, "master_replid": "x"}


def entry(
    n: int, written_ms: int | None = None, text: bytes = b""
) -> tuple[Position, list[tuple[bytes, bytes]]]:
    written = [] if written_ms is None else [(b"_w", b"%d" % (written_ms * 1000))]
    return Position(7, n), [(b"_", text), *written]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"role": "master"}, HISTORY),
        ({"master_link_status": "down"}, LINK),
        ({"master_sync_in_progress": 1}, LINK),
        ({"master_replid": "y"}, HISTORY),
    ],
)
def test_a_replica_has_to_follow_this_primary(changed: dict[str, object], reason: str) -> None:
    found = link_problem({**REPLICA, **changed}, {"role": "master", "master_replid": "x"})
    assert (found.reason if found else "") == reason


@pytest.mark.parametrize(
    ("ends", "missing"),
    [
        (Compared(None, [], None), Missing(None, 0)),
        (Compared(None, [entry(0, 100), entry(1, 130)], entry(9, 400)), Missing(Position(7, 0), 300)),
        (Compared(entry(3, 200), [entry(3, 200)], entry(3, 200)), Missing(None, 0)),
        (
            Compared(entry(3, 200), [entry(3, 200), entry(4, 250)], entry(9, 900)),
            Missing(Position(7, 4), 650),
        ),
        (Compared(entry(3, 200), [entry(3, 200), entry(4)], entry(9, 900)), Missing(Position(7, 4), None)),
        (
            Compared(entry(3, 200), [entry(6, 500), entry(7, 550)], entry(9, 900)),
            Missing(Position(7, 6), 700),
        ),
        (Compared(entry(3, 200), [entry(3, 200, b"other")], entry(3, 200)), None),
        (Compared(entry(3, 200), [], entry(2, 150)), None),
        (Compared(entry(3, 200), [], None), None),
    ],
    ids=[
        "both empty",
        "empty",
        "equal",
        "behind",
        "no time",
        "trimmed",
        "other bytes",
        "ahead",
        "primary empty",
    ],
)
def test_what_a_replica_lacks(ends: Compared, missing: Missing | None) -> None:
    assert missing_of(ends) == missing


def test_a_lag_grows_while_the_same_entry_is_missing_though_nothing_more_is_written() -> None:
    lag = Lag()
    assert lag.observe(Missing(Position(7, 4), 50), 10.0) == 50
    assert lag.observe(Missing(Position(7, 4), 50), 13.0) == 3000
    assert lag.observe(Missing(Position(7, 5), 50), 14.0) == 50
    assert lag.observe(Missing(None, 0), 15.0) == 0
    assert lag.observe(Missing(Position(7, 5), 70), 16.0) == 70
    assert lag.observe(Missing(Position(7, 6), None), 17.0) is None


def decide(choice: ReplicaChoice, now: float, **reports: Report) -> Report | None:
    named = {"a": A, "b": B}
    return choice.observe(
        now, {named[name]: choice.checked(each, named[name]) for name, each in reports.items()}
    )


def test_the_first_good_replica_is_read_at_once() -> None:
    choice = ReplicaChoice(2000)
    assert decide(choice, 0.0) is None
    assert choice.at is None
    decide(choice, 1.0, a=Report(AWAY), b=GOOD)
    assert choice.at == B


def test_readers_share_replicas() -> None:
    places = set()
    for first in range(2):
        choice = ReplicaChoice(2000, first)
        decide(choice, 0.0, a=GOOD, b=GOOD)
        places.add(choice.at)
    assert places == {A, B}


@pytest.mark.parametrize(
    "bad", [Report(AWAY), Report(LINK), Report(HISTORY), Report("", lag_ms=2001), Report("")]
)
def test_a_bad_replica_is_left_and_read_again_only_after_a_while_without_fault(bad: Report) -> None:
    choice = ReplicaChoice(2000)
    decide(choice, 0.0, a=GOOD)
    assert decide(choice, 1.0, a=Report("", lag_ms=2000)) is None
    left = decide(choice, 2.0, a=bad)
    assert left is not None
    assert left.reason == (bad.reason or BEHIND)
    assert choice.at is None
    decide(choice, 8.0, a=bad)
    decide(choice, 8.0 + AGAIN_S - 0.1, a=GOOD)
    assert choice.at is None, "it was wrong less than 10 s ago"
    decide(choice, 8.0 + AGAIN_S, a=GOOD)
    assert choice.at == A


def test_another_replica_takes_the_place_of_one_that_is_left() -> None:
    choice = ReplicaChoice(2000)
    decide(choice, 0.0, a=GOOD)
    decide(choice, 1.0, a=Report(AWAY), b=GOOD)
    assert choice.at == B
    decide(choice, 2.0, a=GOOD, b=Report(AWAY))
    assert choice.at is None, "the other one was away a second ago"


def test_a_replica_that_is_not_read_has_to_be_closer() -> None:
    choice = ReplicaChoice(2000)
    decide(choice, 0.0, a=Report("", lag_ms=AGAIN_LAG_MS + 1))
    assert choice.at is None
    narrow = ReplicaChoice(100)
    decide(narrow, 0.0, a=Report("", lag_ms=51))
    assert narrow.at is None
    decide(narrow, AGAIN_S, a=Report("", lag_ms=50))
    assert narrow.at == A


def test_a_reader_leaves_for_reasons_of_its_own() -> None:
    choice = ReplicaChoice(2000)
    decide(choice, 0.0, a=GOOD)
    choice.leave(1.0)
    decide(choice, 2.0, a=GOOD)
    assert choice.at is None
    decide(choice, 1.0 + AGAIN_S, a=GOOD)
    assert choice.at == A
