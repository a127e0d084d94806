"""The engine from outside: symbols, entries, rejects, intervals, epochs, recovery."""

from typing import Any

import msgpack
import pytest

from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.orders import OrdersCopy
from depthcast.shared.errors import RecoveryError
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.listing import Listing
from depthcast.shared.types import Delta, Snapshot, Symbol

BTC, ETH = Symbol("BTC-USD"), Symbol("ETH-USD")  # partitions 0 and 3 of 4
EPOCH = 1_767_225_600_000 + 10
FIRST = 10 * 2048
GOOD = b'[["add","bid",5,3]]'
ATOMIC = (b"_", b'{"atomic":true}')


def orders(symbol: Symbol) -> Instrument:
    return Instrument(symbol, feed=Feed.ORDERS)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(0, 4)
    engine.set_all_symbols({BTC, ETH, "XRP-USD"})
    engine.register(Instrument(BTC))
    engine.begin_epoch(EPOCH)
    engine.drain()
    return engine


def rejects_of(engine: Engine, *fields: tuple[bytes, bytes]) -> list[Any]:
    engine.apply("7-1", fields)
    return [tuple(reject[:6]) for reject in engine.drain().rejects]


def test_a_cleared_book_is_published_in_the_order_of_its_prices(engine: Engine) -> None:
    """Levels themselves may have an order that differs in each process."""
    prices = [7919 * number % 1009 for number in range(1, 400)]
    engine.apply("1-0", [(BTC.encode(), msgpack.packb([["update", "ask", price, 1] for price in prices]))])
    engine.drain()
    engine.apply("2-0", [(BTC.encode(), b'[["clear"]]')])
    (delta,) = [delta for _, delta in engine.drain().deltas]
    assert delta.asks[::2] == sorted(prices)


class TestRejects:
    def test_undecodable_value(self, engine: Engine) -> None:
        assert rejects_of(engine, (b"BTC-USD", b"\xc1" * 2000), (b"BTC-USD", GOOD)) == [
            ("BTC-USD", "malformed", "7-1", -1, 1, b"\xc1" * 1024)
        ]
        assert engine.snapshot(BTC).bids == [5, 3]

    def test_symbols_that_are_not_here(self, engine: Engine) -> None:
        raw = b"[[0,1],[9],5]"
        for name, reason in (
            (b"ETH-USD", "wrong_partition"),
            (b"ABC", "unknown_symbol"),
            (b"a b", "unknown_symbol"),
        ):
            assert rejects_of(engine, (name, raw)) == [
                (name.decode(), reason, "7-1", 0, 1, b"[0,1]"),
                (name.decode(), "malformed", "7-1", 1, 1, b"[9]"),
                (name.decode(), "malformed", "7-1", 2, 1, b"5"),
            ]
        assert engine.evicted == 0

    def test_known_but_not_registered_here(self) -> None:
        engine = Engine(0, 4)
        engine.set_all_symbols({BTC})
        assert rejects_of(engine, (b"BTC-USD", b"[[0]]")) == [
            ("BTC-USD", "unknown_symbol", "7-1", 0, 1, b"[0]")
        ]

    def test_atomic_for_a_symbol_that_is_not_here(self, engine: Engine) -> None:
        assert rejects_of(engine, ATOMIC, (b"ABC", b"[[0],[9]]"), (b"ABD", b"[]")) == [
            ("ABC", "unknown_symbol", "7-1", 0, 2, b"[0]")
        ]

    def test_names_that_are_no_text(self, engine: Engine) -> None:
        (reject,) = rejects_of(engine, (b"\xff" * 500, b"[[0]]"))
        assert reject[:2] == ("\ufffd" * 256, "unknown_symbol")

    def test_malformed_options_refuse_the_entry_whole(self, engine: Engine) -> None:
        """Applied event by event, the bid would be rejected for the old ask."""
        engine.apply("7-0", [(b"BTC-USD", b'[["add","bid",1000,5],["add","ask",1002,4]]')])
        engine.drain()
        replacing = b'[["update","bid",1003,6],["delete","ask",1002],["update","ask",1004,2]]'
        options = (b"_", b'{"atomic":1}')
        for fields in (
            [(b"BTC-USD", replacing), (b"ABC", b"?"), options],
            [options, (b"BTC-USD", replacing), (b"ABC", b"?")],
            [ATOMIC, (b"BTC-USD", replacing), options, (b"ABC", b"?"), ATOMIC],
        ):
            assert rejects_of(engine, *fields) == [
                ("_", "malformed", "7-1", -1, 1, options[1]),
                ("BTC-USD", "bad_options", "7-1", -1, 1, replacing),
                ("ABC", "bad_options", "7-1", -1, 1, b"?"),
            ]
            assert engine.snapshot(BTC).bids == [1000, 5]
        assert engine.drain()[2:5] == (2, 9, 0)

    def test_malformed_options_alone_are_one_reject(self, engine: Engine) -> None:
        assert rejects_of(engine, (b"_", b""), (b"_", b"?"), (b"_x", b"")) == [
            ("_", "malformed", "7-1", -1, 1, b"")
        ]

    def test_many_values_refused_for_the_options_end_in_one_record(self, engine: Engine) -> None:
        found = rejects_of(engine, (b"_", b"?"), *[(b"BTC-USD", GOOD)] * 1500)
        assert len(found) == 1000
        assert found[-1] == ("BTC-USD", "bad_options", "7-1", -1, 502, GOOD)
        assert engine.drain().rejected == 1501

    def test_a_bad_ts_costs_itself_alone(self, engine: Engine) -> None:
        """Nanoseconds beside `atomic`: the array is one unit all the same."""
        engine.apply("7-0", [(b"BTC-USD", b'[["add","bid",1000,5],["add","ask",1002,4]]')])
        options = (b"_", b'{"atomic":true,"ts":1767225600000000000}')
        replacing = b'[["update","bid",1003,6],["update","ask",1002,0],["update","ask",1004,2]]'
        assert rejects_of(engine, (b"BTC-USD", replacing), options) == []
        snapshot = engine.snapshot(BTC)
        assert (snapshot.bids, snapshot.asks) == ([1003, 6, 1000, 5], [1004, 2])
        assert engine.bad_ts == 1
        assert engine.last_bad_ts.startswith("7-1: ts is 1767225600000000000: ")
        assert engine.drain()[1:5] == (None, 5, 0, 0)

    def test_a_msgpack_producer_in_javascript(self, engine: Engine) -> None:
        """Integers of more than 32 bits are sent as float64."""
        options = (b"_", msgpack.packb({"atomic": True, "ts": 1767225600000000.0}))
        raw = msgpack.packb([["update", "bid", 65_000_000_000.0, 5_000_000_000.0], ["add", "ask", 7e10, 1]])
        engine.apply("7-1", [(b"BTC-USD", raw), options])
        assert engine.drain()[1:5] == (1767225600000000, 2, 0, 0)
        snapshot = engine.snapshot(BTC)
        assert (snapshot.bids, snapshot.asks) == ([65_000_000_000, 5_000_000_000], [70_000_000_000, 1])
        assert [type(item) for item in (*snapshot.bids, *snapshot.asks)] == [int] * 4
        assert engine.bad_ts == 0

    def test_a_flat_array_says_what_an_array_of_events_is(self, engine: Engine) -> None:
        engine.apply("7-1", [(b"BTC-USD", b'["update","bid",100,5]')])
        details = [reject.detail for reject in engine.drain().rejects]
        expected = 'an event is an array such as ["update", "bid", 100, 5], a value an array of events'
        assert details == [f"the event is {each}: {expected}" for each in ('"update"', '"bid"', "100", "5")]

    def test_atomic_array_at_the_offending_index(self, engine: Engine) -> None:
        raw = b"[[0,0,1,1],[0,0,2,0],[9]]"
        expected = ("BTC-USD", "bad_quantity", "7-1", 1, 3, b"[0,0,2,0]")
        assert rejects_of(engine, (b"BTC-USD", raw), ATOMIC) == [expected]

    def test_atomic_array_that_ends_crossed_is_recorded_whole(self, engine: Engine) -> None:
        raw = b'[ ["add","bid",5,3],  ["add","ask",5,3] ]'
        assert rejects_of(engine, (b"BTC-USD", raw), ATOMIC) == [("BTC-USD", "crossed", "7-1", -1, 2, raw)]

    def test_totals_count_every_event_once(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", b"[[0,0,1,1],[2,0,9],[9]]"), (b"ABC", b"[[0],[0]]")])
        assert engine.pending_rejects() == 3
        interval = engine.drain()
        assert (interval.applied, interval.rejected, interval.ignored) == (1, 3, 1)
        assert engine.pending_rejects() == 0


class TestEntries:
    def test_a_repeated_field_is_a_further_array_and_unit(self, engine: Engine) -> None:
        fields = [(b"BTC-USD", GOOD), (b"BTC-USD", b"[[0,0,5,1],[]]"), (b"BTC-USD", GOOD), ATOMIC]
        engine.apply("8-0", fields)
        interval = engine.drain()
        assert (interval.applied, interval.rejected) == (2, 2)
        assert engine.snapshot(BTC).bids == [5, 6]

    def test_src_and_the_newest_source_time(self, engine: Engine) -> None:
        assert engine.drain()[:2] == ("0-0", None)
        engine.apply("8-0", [(b"_", b'{"ts":7}')])
        engine.apply("8-1", [(b"_", b'{"ts":5}')])
        engine.apply("8-2", [])
        assert engine.dirty()
        assert engine.drain()[:2] == ("8-2", 7)
        assert not engine.dirty()
        assert engine.drain()[:2] == ("8-2", None)

    def test_refused_and_ignored_events_touch_nothing(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", b'[["add","bid",5,0],["delete","bid",7]]')])
        assert engine.drain().touched == []

    def test_only_what_changed_is_drained(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD), (b"BTC-USD", b'[["delete","bid",5]]')])
        interval = engine.drain()
        assert (interval.deltas, interval.applied, interval.touched) == ([], 2, [BTC])
        assert engine.snapshot(BTC).seq == FIRST


class TestSymbols:
    def test_birth_under_way(self, engine: Engine) -> None:
        engine.register(orders(ETH))
        assert engine.dirty()
        interval = engine.drain()
        assert interval.deltas == [(ETH, Delta(0, FIRST, [], [], 0, 0))]
        assert (interval.born, interval.orders) == ([ETH], {ETH: OrdersCopy([], [], [], [])})
        assert engine.symbols() == [BTC, ETH]

    def test_a_newborn_that_changed_already_takes_two_drains(self, engine: Engine) -> None:
        engine.register(Instrument(ETH))
        engine.apply("8-0", [(b"ETH-USD", GOOD)])
        assert engine.drain().deltas == [(ETH, Delta(0, FIRST, [], [], 0, 0))]
        assert engine.snapshot(ETH)[:3] == (FIRST, [], [])
        assert engine.dirty()
        ((symbol, delta),) = engine.drain().deltas
        assert (symbol, delta[:4], delta.events) == (ETH, (FIRST, FIRST + 1, [5, 3], []), 1)
        assert not engine.dirty()

    def test_registering_again_changes_nothing(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        assert engine.register(Instrument(BTC))
        assert engine.drain().born == []
        assert engine.snapshot(BTC).bids == [5, 3]

    def test_snapshot_of_nobody(self, engine: Engine) -> None:
        with pytest.raises(KeyError):
            engine.snapshot("nobody")


def listing(number: int, instrument: Instrument, *, withdrawn: bool = False) -> Listing:
    return Listing(number, instrument, withdrawn)


class TestListings:
    """Nothing of a book outlives its listing, and numbers only grow."""

    def test_withdrawn_and_back_it_begins_empty_at_a_higher_seq(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.drain()
        engine.withdraw(BTC)
        engine.withdraw("nobody")
        assert engine.symbols() == []
        assert rejects_of(engine, (b"BTC-USD", GOOD))[0][1] == "unknown_symbol"
        interval = engine.drain()
        assert (interval.born, interval.withdrawn) == ([], ())  # said in the drain before
        assert engine.snapshot(BTC)[:2] == (FIRST + 2, [])
        assert engine.register(Instrument(BTC))
        interval = engine.drain()
        assert interval.deltas == [(BTC, Delta(0, FIRST + 3, [], [], 0, 0))]
        assert (interval.born, interval.listings) == ([BTC], {BTC: listing(2, Instrument(BTC))})

    def test_a_withdrawal_is_said_with_its_listing(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.withdraw(BTC)
        assert engine.begins(BTC)
        assert engine.dirty()
        interval = engine.drain()
        assert interval.deltas == [(BTC, Delta(0, FIRST + 1, [], [], 0, 0))]
        assert (interval.born, interval.withdrawn, interval.touched) == ([], (BTC,), [])
        assert interval.listings == {BTC: listing(1, Instrument(BTC), withdrawn=True)}
        assert not engine.begins(BTC)
        engine.withdraw(BTC)
        assert not engine.dirty()

    def test_gone_and_back_within_an_interval_only_the_birth_is_said(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.withdraw(BTC)
        engine.register(Instrument(BTC, tick_size="0.5"))
        interval = engine.drain()
        assert interval.deltas == [(BTC, Delta(0, FIRST + 1, [], [], 0, 0))]
        assert interval.listings == {BTC: listing(2, Instrument(BTC, tick_size="0.5"))}

    def test_numbers_grow_even_if_nobody_saw_the_listing(self, engine: Engine) -> None:
        engine.register(Instrument(ETH))
        engine.withdraw(ETH)
        engine.register(Instrument(ETH))
        assert engine.drain().listings == {ETH: listing(2, Instrument(ETH))}

    @pytest.mark.parametrize(
        "changed",
        [
            Instrument(BTC, tick_size="0.5"),
            Instrument(BTC, lot_size="0.5"),
            Instrument(BTC, feed=Feed.ORDERS),
            Instrument(BTC, on_cross=OnCross.EVICT),
        ],
    )
    def test_a_change_waits_until_the_book_is_empty(self, engine: Engine, changed: Instrument) -> None:
        engine.apply("8-0", [(b"BTC-USD", b'[["update","ask",5,3]]')])
        assert not engine.register(changed)
        ((_, delta),) = engine.drain().deltas
        assert delta.asks == [5, 3]
        assert engine.listing(BTC) == listing(1, Instrument(BTC))
        engine.apply("9-0", [(b"BTC-USD", b'[["clear"]]')])
        assert engine.register(changed)
        assert engine.drain().listings == {BTC: listing(2, changed)}

    def test_a_later_number_begins_a_listing_whatever_the_book_holds(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.drain()
        assert engine.register(Instrument(BTC, listing=1))
        assert not engine.dirty()
        assert engine.register(Instrument(BTC, listing=7))
        assert engine.drain().listings == {BTC: listing(7, Instrument(BTC))}
        assert engine.snapshot(BTC).bids == []

    def test_a_new_kind_of_feed_takes_its_own_events_alone(self, engine: Engine) -> None:
        engine.register(orders(BTC))
        assert rejects_of(engine, (b"BTC-USD", GOOD))[0][1] == "missing_order_id"
        assert engine.drain(checkpoints=[BTC]).orders[BTC] == OrdersCopy([], [], [], [])

    def test_over_an_epoch_it_still_begins_above_all_before(self, engine: Engine) -> None:
        engine.withdraw(BTC)
        assert engine.begin_epoch(EPOCH + 5) == []
        assert engine.drain().deltas == [(BTC, Delta(0, FIRST + 5 * 2048, [], [], 0, 0))]
        engine.register(Instrument(BTC))
        assert engine.drain().deltas == [(BTC, Delta(0, FIRST + 5 * 2048 + 1, [], [], 0, 0))]

    def test_the_record_says_what_there_was(self, engine: Engine) -> None:
        gone = listing(4, Instrument(ETH), withdrawn=True)
        engine.know_listings({ETH: gone, BTC: listing(1, Instrument(BTC))})
        assert engine.listings() == {ETH: gone, BTC: listing(1, Instrument(BTC))}
        engine.register(Instrument(ETH))
        assert engine.drain().listings == {ETH: listing(5, Instrument(ETH))}

    def test_a_recorded_listing_without_its_book_is_not_continued(self, engine: Engine) -> None:
        engine.know_listings({ETH: listing(4, Instrument(ETH))})
        engine.register(Instrument(ETH))
        assert engine.drain().listings == {ETH: listing(5, Instrument(ETH))}

    def test_a_restored_book_is_of_its_listing(self, engine: Engine) -> None:
        engine.restore(Instrument(ETH, listing=3), 7, [9, 1], [], 5, None)
        assert engine.listing(ETH) == listing(3, Instrument(ETH))
        assert engine.register(Instrument(ETH))
        assert not engine.dirty()


RELIST = b'{"relist":{"BTC-USD":{"listing":2,"tick_size":"0.5"}}}'


class TestRelisting:
    """A listing that an input entry asks for begins exactly there."""

    def test_it_begins_before_the_arrays_of_its_entry(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", b'[["update","bid",5,3]]')])
        engine.drain()
        fields = [(b"BTC-USD", b'[["update","bid",50,3]]'), (b"_", RELIST)]
        engine.apply("9-0", fields)
        born, changed = engine.drain(), engine.drain()
        assert born.deltas == [(BTC, Delta(0, FIRST + 2, [], [], 0, 0))]
        assert born.listings == {BTC: listing(2, Instrument(BTC, "0.5"))}
        assert (born.src, born.after) == ("9-0", {BTC: "8-0"})
        ((_, delta),) = changed.deltas
        assert (delta.prev_seq, delta.bids) == (FIRST + 2, [50, 3])
        engine.apply("10-0", fields)
        assert engine.drain().deltas == [], "it has begun already, so that the command may be repeated"
        assert engine.snapshot(BTC).bids == [50, 3]

    def test_a_definition_that_was_read_before_it_begins_no_other(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"_", RELIST)])
        engine.apply("9-0", [(b"_", RELIST)])
        assert (engine.begun_after("7-9"), engine.begun_after("8-0")) == ({BTC}, set())
        assert engine.register(Instrument(BTC), is_newer=False)
        assert engine.listing(BTC).number == 2
        engine.apply("10-0", [(b"BTC-USD", b'[["update","bid",50,3]]')])
        assert not engine.register(Instrument(BTC), is_newer=False)
        engine.apply("11-0", [(b"BTC-USD", b'[["clear"]]')])
        assert engine.register(Instrument(BTC))
        assert engine.listing(BTC).number == 3
        assert engine.register(Instrument(BTC, listing=5), is_newer=False)
        assert engine.listing(BTC).number == 5

    def test_what_was_applied_before_it_in_the_interval_is_gone(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", b'[["update","bid",5,3]]')])
        engine.apply("9-0", [(b"_", RELIST)])
        interval = engine.drain()
        assert (interval.src, interval.applied, interval.touched) == ("9-0", 1, [])
        assert engine.snapshot(BTC).bids == []
        assert not engine.dirty()

    def test_a_large_entry_may_ask_too(self, engine: Engine) -> None:
        many = b"[" + b",".join(b'["update","bid",%d,1]' % price for price in range(9_000)) + b"]"
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.apply("9-0", [(b"BTC-USD", many), (b"_", RELIST)])
        engine.drain()
        engine.drain()
        assert (engine.listing(BTC).number, len(engine.snapshot(BTC).bids)) == (2, 18_000)

    def test_a_symbol_that_is_not_registered_is_not_listed(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"_", b'{"relist":{"ETH-USD":{"listing":2}}}')])
        assert engine.drain().listings == {}
        assert ETH not in engine.listings()

    @pytest.mark.parametrize(
        ("options", "reasons"),
        [
            (b'{"listing":1}', []),
            (b'{"listing":2}', ["other_listing"] * 2),
            (b'{"listing":2,"atomic":true}', ["other_listing"]),
            (b'{"listing":{"ETH-USD":2}}', []),
            (b'{"listing":{"BTC-USD":2}}', ["other_listing"] * 2),
            (b'{"listing":2,"relist":{"BTC-USD":{"listing":2}}}', []),
        ],
    )
    @pytest.mark.parametrize("padding", [0, 1 << 20])
    def test_arrays_for_another_listing_are_rejected(
        self, engine: Engine, options: bytes, reasons: list[str], padding: int
    ) -> None:
        array = b'[["update","bid",5,3],["update","bid",6,3]]'
        engine.apply("8-0", [(b"BTC-USD", array), (b"_", options), (b"_ignored", b" " * padding)])
        interval = engine.drain()
        assert [str(reject.reason) for reject in interval.rejects] == reasons
        assert (interval.rejected, interval.applied) == ((2, 0) if reasons else (0, 2))

    def test_a_replay_leaves_out_what_was_for_another_listing(self, engine: Engine) -> None:
        engine.restore(orders(ETH)._replace(listing=2), 7, (), (), 0, OrdersCopy([], [], [], []))
        for number in (1, 2):
            fields = [
                (b"_", b'{"listing":%d}' % number),
                (b"ETH-USD", b'[["add","bid",%d,1,%d]]' % (number, number)),
            ]
            engine.replay(f"{number}-0", fields, {ETH})
        assert engine.snapshot(ETH).bids == [2, 1]


class TestEpochs:
    def test_every_symbol_moves_on_and_newborns_are_born(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        engine.drain()
        digest = engine.digest(BTC)
        engine.register(orders(ETH))
        epoch = EPOCH + 1
        assert engine.begin_epoch(epoch) == [
            (BTC, Delta(FIRST + 1, FIRST + 2048, [], [], digest, 0)),
            (ETH, Delta(0, FIRST + 2048, [], [], 0, 0)),
        ]
        interval = engine.drain()
        assert (interval.born, interval.deltas, list(interval.orders)) == ([ETH], [], [ETH])

    def test_seq_goes_up_even_where_the_epoch_is_behind_it(self, engine: Engine) -> None:
        engine.restore(Instrument(BTC), 2**52, [], [], 0, None)
        assert engine.begin_epoch(EPOCH + 1) == [(BTC, Delta(2**52, 2**52 + 1, [], [], 0, 0))]

    def test_what_is_pending_follows_the_move(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", GOOD)])
        ((_, move),) = engine.begin_epoch(EPOCH + 1)
        assert (move.bids, move.asks) == ([], [])
        ((_, change),) = engine.drain().deltas
        assert change.prev_seq == move.seq
        assert change.bids or change.asks


class TestRecovery:
    def test_levels_go_on_where_they_were(self, engine: Engine) -> None:
        engine.apply("8-0", [(b"BTC-USD", b"[[0,0,5,3],[0,1,9,4]]")])
        last = engine.drain()
        seq, bids, asks, digest = engine.snapshot(BTC)[:4]
        other = Engine(0, 4)
        other.restore(Instrument(BTC), seq, bids, asks, digest, None)
        other.resume_counting(last.src, last.applied, last.rejected, last.ignored)
        assert not other.dirty()
        assert other.snapshot(BTC) == engine.snapshot(BTC)
        for each in (engine, other):
            each.apply("9-0", [(b"BTC-USD", b"[[0,0,9,1],[0,0,6,1]]")])
        ours, theirs = other.drain(), engine.drain()
        assert ours.deltas == [(BTC, theirs.deltas[0][1]._replace(seq=seq + 1))]
        assert ours._replace(deltas=[]) == theirs._replace(deltas=[])

    def test_replay_is_for_the_named_symbols_alone(self, engine: Engine) -> None:
        engine.restore(orders(ETH), 7, (), (), 0, OrdersCopy([1], [[5, 2]], [], []))
        engine.replay(
            "8-0", [(b"ETH-USD", b'[["delete",0,0,0,1],[9]]'), (b"BTC-USD", GOOD), (b"ABC", b"")], {ETH}
        )
        assert engine.snapshot(ETH)._replace(marks=None) == Snapshot(7, [], [], 0, 0)
        assert engine.snapshot(BTC).bids == []
        assert engine.drain() == Interval("0-0", None, 0, 0, 0, [], [], [], {}, [])

    def test_replay_passes_over_what_cannot_be_decoded(self, engine: Engine) -> None:
        engine.restore(orders(ETH), 7, (), (), 0, OrdersCopy([1], [[5, 2]], [], []))
        fields = [(b"ETH-USD", b"["), (b"ETH-USD", b'[["reduce",0,0,1,1]]')]
        engine.replay("8-0", fields, {ETH})
        assert engine.snapshot(ETH).bids == [5, 1]

    def test_state_without_a_seq_is_still_to_be_born(self, engine: Engine) -> None:
        engine.restore(Instrument(ETH), 0, [], [], 0, None)
        assert engine.drain().born == [ETH]

    @pytest.mark.parametrize(
        "copy", [None, OrdersCopy([1, 1], [[1, 1], [1, 1]], [], []), OrdersCopy([1], [[1]], [], [])]
    )
    def test_orders_that_do_not_add_up(self, engine: Engine, copy: OrdersCopy | None) -> None:
        with pytest.raises(RecoveryError, match="ETH-USD"):
            engine.restore(orders(ETH), 7, (), (), 0, copy)

    def test_copies_of_orders_go_with_the_interval(self, engine: Engine) -> None:
        engine.register(orders(ETH))
        engine.drain()
        engine.apply("8-0", [(b"ETH-USD", b'[[0,0,5,3,"a"],[0,1,6,4,1]]')])
        interval = engine.drain([ETH, BTC])
        assert interval.orders == {ETH: OrdersCopy(["a"], [(5, 3)], [1], [(6, 4)])}
        assert engine.stats() == (2, 2, 2)

    def test_counting_continues_from_a_published_entry(self, engine: Engine) -> None:
        engine.resume_counting("8-0", 5, 3, 2)
        assert (engine.last_consumed(), engine.dirty()) == ("8-0", False)
        engine.apply("9-0", [(b"BTC-USD", b"[[0,0,1,1],[2,0,9],[9]]")])
        interval = engine.drain()
        assert (interval.src, interval.applied, interval.rejected, interval.ignored) == ("9-0", 6, 4, 3)

    def test_a_lost_input_log_changes_src_alone(self, engine: Engine) -> None:
        engine.resume_counting("8-0", 5, 3, 2)
        engine.continue_from("2-0")
        assert engine.last_consumed() == "2-0"
        assert engine.drain()[:5] == ("2-0", None, 5, 3, 2)

    def test_refusals_name_their_partition(self) -> None:
        for kept in (None, OrdersCopy([1], [[1]], [], [])):
            with pytest.raises(RecoveryError) as caught:
                Engine(3, 4).restore(orders(ETH), 7, (), (), 0, kept)
            assert caught.value.partition == 3
