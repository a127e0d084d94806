"""A producer's doubt in a book: it holds until all of a symbol's events apply with `live`."""

import json
from typing import Any

import pytest

from depthcast.ingestor import engine as engine_module
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.limits import DEFAULT
from depthcast.ingestor.output import broadcast_of
from depthcast.ingestor.rejects import Reason
from depthcast.shared.codec import decode_marks, encode_delta
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol

A, B = Symbol("A"), Symbol("B")
GOOD = b'[["update","bid",5,3]]'
BAD = b'[["update","bid",6,3],["update","bid",7.5,3]]'
EMPTY = b"[]"
ANEW = b'[["clear"],["update","bid",5,3]]'


def option(**options: Any) -> tuple[bytes, bytes]:
    return b"_", json.dumps(options).encode()


STALE = option(stale="gap")
LIVE = option(live=True)


@pytest.fixture(params=[False, True], ids=["whole", "slices"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param:
        monkeypatch.setattr(engine_module, "SMALL_BYTES", 0)
    engine = Engine(0, 1)
    engine.register(Instrument(A))
    engine.register(Instrument(B, feed=Feed.ORDERS))
    engine.drain()
    return engine


def feed(engine: Engine, *fields: tuple[bytes, bytes]) -> Interval:
    engine.apply("7-1", fields)
    return engine.drain()


def test_a_mark_is_a_delta_without_levels(engine: Engine) -> None:
    interval = feed(engine, STALE, (b"A", EMPTY))
    assert interval.doubts == {A: "gap"}
    ((symbol, delta),) = interval.deltas
    assert (symbol, delta.seq - delta.prev_seq, delta.bids, delta.asks) == (A, 1, [], [])
    assert (engine.doubt("A"), engine.doubt("B"), engine.doubts()) == ("gap", None, 1)
    broadcast = broadcast_of(interval, 1)
    assert decode_marks(encode_delta(delta, broadcast.marks["A"])) == {"stale": "gap"}
    again = feed(engine, STALE, (b"A", EMPTY))
    assert (again.doubts, again.deltas) == ({}, [])
    ended = feed(engine, LIVE, (b"A", EMPTY))
    assert ended.doubts == {A: None}
    assert broadcast_of(ended, 1).marks["A"] == {"stale": None}
    assert [delta.prev_seq for _, delta in ended.deltas] == [delta.seq]
    assert (engine.doubt("A"), engine.doubts()) == (None, 0)


def test_levels_and_mark_are_one_delta(engine: Engine) -> None:
    interval = feed(engine, (b"A", GOOD), STALE)
    ((_, delta),) = interval.deltas
    assert (delta.bids, interval.doubts) == ([5, 3], {A: "gap"})


def test_another_reason_replaces_the_first(engine: Engine) -> None:
    feed(engine, STALE, (b"A", EMPTY))
    assert feed(engine, option(stale="checksum"), (b"A", EMPTY)).doubts == {A: "checksum"}


def test_each_symbol_of_the_entry_is_live_by_its_own_events(engine: Engine) -> None:
    feed(engine, STALE, (b"A", EMPTY), (b"B", EMPTY), (b"Z", EMPTY))
    assert engine.doubts() == 2
    fields = [(b"A", GOOD), (b"B", b'[["add","bid",5,3]]'), LIVE]
    assert feed(engine, *fields).doubts == {A: None, B: "rejected"}


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("bad", [BAD, b"?", b'["update"]'])
@pytest.mark.parametrize("order", [1, -1])
def test_doubt_stays_unless_all_arrays_of_the_symbol_apply(
    engine: Engine, bad: bytes, order: int, atomic: bool
) -> None:
    feed(engine, STALE, (b"A", EMPTY))
    fields = [(b"A", GOOD), (b"A", bad)][::order]
    assert feed(engine, *fields, option(live=True, atomic=atomic)).doubts == {A: "rejected"}
    assert feed(engine, (b"A", ANEW), (b"A", b'[["delete","ask",9]]'), LIVE).doubts == {A: None}


@pytest.mark.parametrize("atomic", [False, True])
def test_a_book_that_is_not_as_it_was_said_to_be_comes_into_doubt(engine: Engine, atomic: bool) -> None:
    assert feed(engine, (b"A", GOOD), (b"A", BAD), option(atomic=atomic)).doubts == {}
    fields = [(b"A", GOOD), (b"A", BAD), (b"B", EMPTY)]
    assert feed(engine, *fields, option(live=True, atomic=atomic)).doubts == {A: "rejected"}


@pytest.mark.parametrize("events", [GOOD, EMPTY, b'[["clear","bid"],["update","bid",5,3]]', b"[[]]"])
def test_what_was_rejected_is_missing_until_the_book_is_replaced(engine: Engine, events: bytes) -> None:
    feed(engine, (b"A", BAD), LIVE)
    assert feed(engine, (b"A", events), LIVE).doubts == {}
    assert engine.doubt("A") == "rejected"
    assert not feed(engine, (b"A", ANEW)).doubts, "nobody says that it is right"
    assert feed(engine, (b"A", GOOD), (b"A", ANEW), LIVE).doubts == {A: None}


def test_a_producer_may_give_another_reason_and_end_that(engine: Engine) -> None:
    feed(engine, (b"A", BAD), LIVE)
    assert feed(engine, STALE, (b"A", EMPTY)).doubts == {A: "gap"}
    assert feed(engine, LIVE, (b"A", GOOD)).doubts == {A: None}


@pytest.mark.parametrize("reason", [Reason.TOO_BIG, Reason.TOO_MANY_VALUES, Reason.POISON])
def test_an_entry_refused_for_its_size_leaves_its_books_in_doubt(engine: Engine, reason: Reason) -> None:
    engine.refuse("7-1", [(b"A", ANEW), (b"Z", GOOD), LIVE], reason)
    assert engine.drain().doubts == {A: "rejected"}
    engine.refuse("7-2", [(b"A", EMPTY), (b"B", EMPTY), STALE], reason)
    assert engine.drain().doubts == {A: "gap", B: "gap"}
    engine.refuse("7-3", [(b"A", EMPTY)], reason)
    assert engine.drain().doubts == {}


def test_an_entry_with_too_many_options_is_refused_without_reading_them() -> None:
    engine = Engine(0, 1, limits=DEFAULT._replace(entry_values_max=2))
    engine.register(Instrument(A))
    engine.drain()
    assert feed(engine, (b"A", GOOD), STALE, STALE, STALE).doubts == {}
    assert feed(engine, (b"A", GOOD), (b"A", GOOD), STALE).doubts == {A: "gap"}


def test_live_of_another_listing_ends_no_doubt(engine: Engine) -> None:
    feed(engine, STALE, (b"A", EMPTY))
    assert feed(engine, option(live=True, listing=2), (b"A", EMPTY)).doubts == {}
    assert feed(engine, option(live=True, listing=1), (b"A", EMPTY)).doubts == {A: None}


def test_an_entry_refused_for_its_options_changes_no_doubt(engine: Engine) -> None:
    assert not feed(engine, STALE, (b"_", b"?"), (b"A", EMPTY)).doubts
    feed(engine, STALE, (b"A", EMPTY))
    assert not feed(engine, LIVE, (b"_", b"?"), (b"A", EMPTY)).doubts
    assert engine.doubt("A") == "gap"


def test_what_came_and_went_within_an_interval_is_not_said(engine: Engine) -> None:
    engine.apply("7-1", [STALE, (b"A", EMPTY)])
    assert engine.doubt("A") is None
    engine.apply("7-2", [LIVE, (b"A", EMPTY)])
    interval = engine.drain()
    assert (interval.doubts, interval.deltas) == ({}, [])
    assert not engine.dirty()


def test_a_newborn_symbol_is_born_without_doubt_and_marked_next(engine: Engine) -> None:
    engine.register(Instrument(Symbol("C")))
    first = feed(engine, STALE, (b"C", GOOD))
    assert (first.doubts, [delta.prev_seq for _, delta in first.deltas]) == ({}, [0])
    assert engine.doubt("C") is None
    assert engine.dirty()
    second = engine.drain()
    assert second.doubts == {Symbol("C"): "gap"}
    assert not engine.dirty()


def test_a_restored_doubt_is_the_published_one(engine: Engine) -> None:
    engine.restore_doubts({"A": "gap", "Z": "nobody"})
    assert (engine.doubt("A"), engine.doubts(), engine.dirty()) == ("gap", 1, False)
    assert feed(engine, LIVE, (b"A", EMPTY)).doubts == {A: None}
    engine.restore_doubts({"A": "gap"})
    engine.restore(Instrument(A), 5, [], [], 0, None)
    assert engine.doubt("A") is None


def test_doubt_ends_with_its_listing(engine: Engine) -> None:
    feed(engine, STALE, (b"A", EMPTY))
    engine.withdraw("A")
    engine.drain()
    engine.register(Instrument(A))
    engine.drain()
    assert (engine.doubt("A"), engine.doubts()) == (None, 0)


def test_a_replay_changes_no_doubt(engine: Engine) -> None:
    engine.replay("7-1", [STALE, (b"B", b'[["add","bid",5,3,1]]')], ["B"])
    assert engine.doubts() == 0
