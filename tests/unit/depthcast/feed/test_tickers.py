"""Which entry a ticker belongs to, by each venue's rule."""

from depthcast.feed.entry import CLEAR, UPDATE, FeedEntry
from depthcast.feed.oracle import BestPrices
from depthcast.feed.tickers import HELD_MOST, Numbered, Rule, Ticker, with_oracles
from depthcast.shared.types import Symbol


def entry(line: int, sequence: int | None = None, ts: int | None = None, best: int | None = None) -> Numbered:
    made = FeedEntry(Symbol("A"), [(UPDATE, 0, 1, 1)], ts, None, True, None, line)
    return Numbered(made, sequence, None if best is None else prices(best))


def ticker(bid: int, sequence: int | None = None, ts: int | None = None) -> Ticker:
    return Ticker("A", prices(bid), sequence, ts)


def prices(bid: int) -> BestPrices:
    return BestPrices((bid, 1), (100, 1))


def found(rule: Rule, *made: Numbered | Ticker) -> list[int | None]:
    oracles = [each.oracle for each in with_oracles(made, rule)]
    return [oracle.bid[0] if isinstance(oracle, BestPrices) else None for oracle in oracles]


def test_by_number_the_latest_that_is_not_beyond_counts_wherever_it_stands() -> None:
    made = (ticker(1, 1), entry(1, 2), entry(2, 5), ticker(2, 2), ticker(4, 4), ticker(6, 6), entry(3, 9))
    assert found(Rule.SEQUENCE, *made) == [2, 4, 6]


def test_by_number_a_snapshot_has_no_oracle() -> None:
    snapshot = entry(1, 5)
    snapshot = snapshot._replace(entry=snapshot.entry._replace(events=[(CLEAR,)]))
    assert found(Rule.SEQUENCE, ticker(1, 4), snapshot, ticker(2, 6), entry(2, 6)) == [None, 2]


def test_entries_wait_only_until_their_ticker_is_known() -> None:
    read = []

    def lines() -> object:
        for each in (entry(1, 2), ticker(3, 3), entry(2, 4), entry(3, 5)):
            read.append(each)
            yield each

    entries = with_oracles(lines(), Rule.SEQUENCE)  # type: ignore[arg-type]
    assert next(entries).line == 1
    assert len(read) == 2


def test_what_waits_too_long_goes_without_an_oracle() -> None:
    entries = [entry(line, line) for line in range(2, HELD_MOST + 4)]
    oracles = found(Rule.SEQUENCE, ticker(1, 1), *entries)
    assert oracles[:3] == [None, None, 1]
    assert len(oracles) == HELD_MOST + 2


def test_by_time_the_last_message_that_is_not_after_the_ticker_counts() -> None:
    made = (entry(1, ts=1), ticker(7, ts=3), entry(2, ts=3), entry(3, ts=4), ticker(8, ts=9))
    assert found(Rule.TIME, *made) == [None, 7, 8]


def test_by_the_same_time_only_the_message_before_counts() -> None:
    made = (entry(1, ts=1), entry(2, ts=1), ticker(5, ts=1), entry(3, ts=1), ticker(6, ts=2), entry(4, ts=2))
    assert found(Rule.SAME_TIME, *made) == [None, 5, None, None]


def test_in_order_a_ticker_is_of_a_state_that_is_not_before_the_last_one() -> None:
    made = (entry(1, best=1), entry(2, best=2), ticker(2), entry(3, best=3), entry(4, best=1), ticker(1))
    assert found(Rule.ORDER, *made) == [None, 2, None, 1]
    assert found(Rule.ORDER, entry(1, best=1), ticker(9)) == [9]
    assert found(Rule.ORDER, ticker(9), entry(1, best=1)) == [None]
