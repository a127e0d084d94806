"""One symbol of a live feed: when its book is live, in doubt, or replaced."""

from collections.abc import Sequence

import pytest

from depthcast.feed.scale import Scale
from depthcast.feed.symbol_feed import AGAIN_S, HOLD_S, FeedState, LiveEntry, LocalDoubt, Step, SymbolFeed
from depthcast.feed.venue import Doubt, DoubtReason, Snapshot, Update
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

BIDS, ASKS = [("100.0", "2"), ("99.5", "1")], [("101.0", "3")]
WHOLE = [(4,), (1, 0, 200, 20), (1, 0, 199, 10), (1, 1, 202, 30)]
"""The events of that book, in ticks of 0.5 and lots of 0.1."""


def feed() -> SymbolFeed:
    return SymbolFeed(Symbol("A"), Scale("0.5"), Scale("0.1"), 0.0)


def snapshot(sequence: int | None = 10, bids: object = BIDS, asks: object = ASKS) -> Snapshot:
    return Snapshot("a", bids, asks, 5_000, sequence)  # type: ignore[arg-type]


def update(sequence: int | None, bids: object = (), asks: object = ()) -> Update:
    return Update("a", bids, asks, 6_000, sequence)  # type: ignore[arg-type]


def live_feed() -> SymbolFeed:
    made = feed()
    made.take(1, snapshot(), 1.0)
    return made


def test_a_feed_begins_with_a_mark() -> None:
    assert feed().whole(0.0) == LiveEntry(Symbol("A"), (), stale="starting")


def test_a_snapshot_is_one_entry_that_clears_and_reloads() -> None:
    made = feed()
    step = made.take(1, snapshot(), 1.0)
    assert step.entries == [LiveEntry(Symbol("A"), WHOLE, 5_000, live=True)]
    assert (made.state, made.reason, made.since, made.sequence) == (FeedState.LIVE, "", 1.0, 10)


def test_an_update_of_a_live_book_is_one_entry() -> None:
    step = live_feed().take(1, update(11, [("100.5", "0.4")], [("101", "0")]), 2.0)
    assert step.entries == [LiveEntry(Symbol("A"), [(1, 0, 201, 4), (1, 1, 202, 0)], 6_000, live=True)]


def test_an_update_before_the_snapshot_is_nothing() -> None:
    assert feed().take(1, update(11, [("100.5", "0.4")]), 2.0).entries == ()


def test_a_doubt_marks_the_book_once_and_the_next_snapshot_replaces_it() -> None:
    made = live_feed()
    doubt = Doubt("a", DoubtReason.GAP, "12 after 10")
    step = made.take(1, doubt, 2.0)
    assert step.entries == [LiveEntry(Symbol("A"), (), stale="gap")]
    assert (step.doubt, step.resync, made.state, made.since) == ("gap", False, FeedState.DOUBT, 2.0)
    assert made.take(1, doubt, 3.0).entries == []
    assert made.take(1, update(13, [("98", "1")]), 3.0).entries == ()
    (entry,) = made.take(1, snapshot(14), 4.0).entries
    assert (entry.live, entry.events) == (True, WHOLE)
    assert made.doubts == {"gap": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (update(11, [("100.25", "1")]), "unfit"),
        (update(11, [("100", "0.05")]), "unfit"),
        (update(11, [("100", "-1")]), "unfit"),
        (update(11, [("101", "1")]), "crossed"),
        (update(11, [("102", "1")]), "crossed"),
        (snapshot(11, [("101", "1")]), "crossed"),
        (snapshot(11, [("x", "1")]), "unfit"),
    ],
)
def test_what_cannot_be_published_is_a_doubt_that_the_adapter_does_not_know(
    change: Snapshot | Update, reason: str
) -> None:
    made = live_feed()
    step = made.take(1, change, 2.0)
    assert step.entries == [LiveEntry(Symbol("A"), (), stale=reason)]
    assert (step.resync, step.unfit) == (True, reason == "unfit")
    assert made.take(1, update(12, [("98", "1")]), 3.0).entries == ()
    assert made.whole(3.0).stale == reason


def test_a_newer_connection_takes_over_without_a_doubt_once_it_is_not_behind() -> None:
    made = live_feed()
    made.take(1, update(15, [("99", "1")]), 2.0)
    assert made.take(2, snapshot(12), 2.0).entries == ()
    assert len(made.take(1, update(16, [("99", "2")]), 2.1).entries) == 1
    assert made.take(2, update(14, [("99", "3")]), 2.2).entries == ()
    (entry,) = made.take(2, update(16, [("98", "1")]), 2.3).entries
    assert entry.live
    assert (1, 0, 196, 10) in entry.events
    assert made.take(1, update(17, [("99", "9")]), 2.4).entries == ()
    assert made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 2.5).entries == ()
    assert (made.source, made.state, made.doubts) == (2, FeedState.LIVE, {})


def test_a_doubt_of_a_connection_that_has_not_taken_over_changes_nothing() -> None:
    made = live_feed()
    made.take(2, snapshot(5), 2.0)
    assert made.take(2, Doubt("a", DoubtReason.GAP, ""), 2.1).entries == ()
    assert made.take(2, update(20, [("98", "1")]), 2.2).entries == ()
    assert len(made.take(1, update(11, [("99", "2")]), 2.3).entries) == 1


def test_a_snapshot_from_before_what_was_published_waits() -> None:
    made = live_feed()
    made.take(1, update(15, [("99", "1")]), 2.0)
    made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.take(2, snapshot(12), 4.0).entries == ()
    assert made.whole(4.0).stale == "disconnected"
    assert made.take(2, update(14), 4.1).entries == ()
    (entry,) = made.take(2, update(15), 4.2).entries
    assert entry.live


def test_it_waits_no_longer_than_the_limit_or_where_the_venue_was_reset() -> None:
    made = live_feed()
    made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.take(2, snapshot(1), 4.0).entries == ()
    made.take(2, Doubt("a", DoubtReason.DISCONNECTED, ""), 5.0)
    assert made.take(3, snapshot(2), 3.9 + HOLD_S).entries == ()
    assert made.take(3, update(3), 4.0 + HOLD_S).entries[0].live
    made.take(3, Doubt("a", DoubtReason.RESET, ""), 20.0)
    assert made.take(3, snapshot(1), 20.0).entries[0].live


def test_a_reset_that_only_the_next_connection_tells_brings_no_older_book() -> None:
    made = live_feed()
    made.take(2, Doubt("a", DoubtReason.RESET, "an old snapshot"), 2.0)
    assert made.take(2, snapshot(9), 2.1).entries == ()
    assert (made.state, made.source) == (FeedState.LIVE, 1)
    made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 2.2)
    made.take(2, Doubt("a", DoubtReason.RESET, "numbers begin anew"), 2.3)
    assert made.take(2, snapshot(1), 2.4).entries[0].live


def test_a_live_book_whose_connection_goes_back_is_in_doubt_meanwhile() -> None:
    made = live_feed()
    step = made.take(1, snapshot(3), 2.0)
    assert (step.entries, step.doubt) == ([LiveEntry(Symbol("A"), (), stale="reset")], "reset")
    assert made.whole(2.1).stale == "reset"
    assert made.take(1, update(10), 2.2).entries[0].live


def test_an_older_snapshot_waits_anew_if_the_one_before_it_was_dropped_long_ago() -> None:
    made = live_feed()
    made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.take(2, snapshot(1), 4.0).entries == ()
    made.take(2, Doubt("a", DoubtReason.DISCONNECTED, ""), 5.0)
    assert made.take(3, snapshot(5), 6.0 + AGAIN_S).entries == (), "it may be one that lags behind"
    assert made.take(3, update(6), 6.0 + AGAIN_S + HOLD_S).entries[0].live


def test_a_lost_book_is_stale_until_the_next_snapshot() -> None:
    made = live_feed()
    assert made.lose("refused", 2.0) == [LiveEntry(Symbol("A"), (), stale="refused")]
    assert made.lose("refused", 2.1) == []
    assert made.take(1, update(11, [("99", "1")]), 2.2).entries == ()
    assert made.take(1, snapshot(12), 3.0).entries[0].live


def test_an_older_connection_is_heard_again_if_the_newer_one_has_ended() -> None:
    made = live_feed()
    assert not made.return_to(1)
    made.take(2, snapshot(11), 2.0)
    made.take(2, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.take(1, snapshot(12), 3.1).entries == ()
    assert made.return_to(1)
    assert made.take(1, update(13, [("99", "1")]), 3.2).entries == (), "it was not told what came meanwhile"
    assert made.take(1, snapshot(13), 3.3).entries[0].live


def test_numbers_of_the_newer_connection_do_not_hold_back_the_older_one() -> None:
    made = SymbolFeed(Symbol("A"), Scale("0.5"), Scale("0.1"), 0.0, numbers_by_connection=True)
    made.take(1, snapshot(10), 1.0)
    made.take(2, snapshot(5_000), 2.0)
    made.take(2, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.return_to(1)
    assert made.take(1, snapshot(20), 3.1).entries[0].live


def test_numbers_of_one_connection_say_nothing_of_the_next_but_times_do() -> None:
    made = SymbolFeed(Symbol("A"), Scale("0.5"), Scale("0.1"), 0.0, numbers_by_connection=True)
    made.take(1, snapshot(1_000), 1.0)
    made.take(1, update(1_001, [("99", "1")]), 2.0)
    assert made.take(2, snapshot(3), 3.0).entries == (), "it is from before the update"
    (entry,) = made.take(2, update(4), 3.1).entries
    assert (entry.live, entry.events) == (True, WHOLE)
    assert (made.source, made.doubts) == (2, {})
    made.take(2, Doubt("a", DoubtReason.DISCONNECTED, ""), 4.0)
    assert made.take(3, snapshot(1)._replace(ts=7_000), 4.1).entries[0].live
    assert made.take(3, snapshot(0)._replace(ts=8_000), 4.2).doubt == "reset", "of one connection they do"


def test_venues_without_numbers_replace_at_once() -> None:
    made = live_feed()
    made.take(1, Doubt("a", DoubtReason.DISCONNECTED, ""), 3.0)
    assert made.take(2, snapshot(None), 4.0).entries[0].live


def test_a_doubt_on_this_side_is_over_with_the_whole_book() -> None:
    made = live_feed()
    assert made.doubt(LocalDoubt.REJECTED, 2.0) == [LiveEntry(Symbol("A"), (), stale="rejected")]
    assert made.doubt(LocalDoubt.BACKLOG, 2.0) == []
    assert made.take(1, update(11, [("99", "1")]), 3.0).entries == ()
    entry = made.whole(4.0)
    assert (entry.live, made.state, made.sequence) == (True, FeedState.LIVE, 11)
    assert (1, 0, 198, 10) in entry.events
    assert made.doubts == {"rejected": 1}


@pytest.mark.parametrize("ended", [False, True])
def test_a_finished_symbol_is_marked_once_and_takes_nothing_more(*, ended: bool) -> None:
    made = live_feed()
    entries: Sequence[LiveEntry] = made.end(2.0) if ended else made.refuse("no such symbol", 2.0)
    mark = LiveEntry(Symbol("A"), (), stale="ended" if ended else "refused")
    assert entries == [mark]
    assert made.take(2, snapshot(20), 3.0).entries == ()
    assert made.end(3.0) == made.refuse("again", 3.0) == []
    assert made.whole(3.0) == mark
    assert made.reason == ("ended" if ended else "no such symbol")


def test_another_listing_begins_with_the_next_snapshot_in_its_sizes() -> None:
    made = live_feed()
    assert made.relist(2, Scale("0.25"), Scale("0.1"), 2.0) == LiveEntry(
        Symbol("A"), (), stale="relisted", listing=2
    )
    assert made.take(1, update(11, [("99", "1")]), 2.1).entries == ()
    (entry,) = made.take(1, snapshot(12), 3.0).entries
    assert (entry.listing, entry.live, entry.events[1]) == (2, True, (1, 0, 400, 20))
    made.end(4.0)
    assert made.relist(3, Scale("1"), Scale("1"), 5.0) is None


def test_from_the_wish_for_a_listing_to_its_begin_nothing_is_said_of_either() -> None:
    made, wanted = live_feed(), Instrument(Symbol("A"), "0.25", "0.1", listing=2)
    mark = LiveEntry(Symbol("A"), (), stale="resized", relist=wanted)
    assert made.ask_relisting(wanted, 2.0) == mark
    assert (made.state, made.reason, made.doubts) == (FeedState.DOUBT, "resized", {"resized": 1})
    for output in (update(11, [("99", "1")]), snapshot(12), Doubt("a", DoubtReason.GAP, "")):
        assert made.take(1, output, 3.0) == Step()
    assert made.whole(3.0) == mark, "written again, it asks again"
    made.relist(2, Scale("0.25"), Scale("0.1"), 4.0)
    (entry,) = made.take(1, snapshot(13), 5.0).entries
    assert (entry.listing, entry.relist, entry.live) == (2, None, True)
    assert entry.events[1] == (1, 0, 400, 20)


def test_a_symbol_that_ends_asks_for_no_listing_any_more() -> None:
    made = live_feed()
    made.ask_relisting(Instrument(Symbol("A"), "0.25", "0.1", listing=2), 2.0)
    assert made.end(3.0) == [LiveEntry(Symbol("A"), (), stale="ended")]
    assert made.ask_relisting(Instrument(Symbol("A"), listing=3), 4.0) is None
    assert made.delist(4.0) is None


def test_a_delisted_symbol_is_in_doubt_until_it_is_listed_again() -> None:
    made = live_feed()
    assert made.delist(2.0) == LiveEntry(Symbol("A"), (), stale="delisted")
    assert made.delist(2.5) is None
    assert made.take(2, snapshot(12), 3.0) == Step()
    assert (made.state, made.doubts) == (FeedState.DOUBT, {"delisted": 1})
    made.list_again()
    assert made.take(2, snapshot(2), 4.0).entries[0].live, "its numbers may have begun anew"


def test_a_symbol_that_was_never_live_waits_while_it_is_delisted() -> None:
    made = feed()
    assert made.delist(1.0) == LiveEntry(Symbol("A"), (), stale="delisted")
    assert (made.state, made.reason, made.doubts) == (FeedState.WAITING, "delisted", {})


@pytest.mark.parametrize(
    ("price", "quantity", "fits"),
    [("0.5", "0.1", True), ("0.25", "0.1", True), ("1", "0.1", False), ("0.5", "0.3", False)],
)
def test_whether_a_book_fits_other_sizes(price: str, quantity: str, *, fits: bool) -> None:
    assert feed().fits(Scale(price), Scale(quantity)) is None
    assert live_feed().fits(Scale(price), Scale(quantity)) is fits
