"""How old a book is: the estimate of the server's clock, and what it says about entries."""

from random import Random

import pytest

from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.reader import Written

DAY_US = 86_400_000_000
SERVER_US = 1_790_000_000_000_000
"""What the server's clock shows at 0 of the reader's monotonic clock."""


def entry(written_s: float | None, *, is_new: bool = False, lag_ms: int | None = None) -> Written:
    """An entry that the server wrote at `written_s` of the reader's clock; None: it does not say."""
    return Written(None if written_s is None else SERVER_US + int(written_s * 1e6), lag_ms, is_new)


def seal(written_s: float) -> Written:
    """The seal of a new leader, which does not say what input waits."""
    return entry(written_s, is_new=True)._replace(is_seal=True)


def sampled(
    clock: ServerClock, sent: float, received: float, at: float | None = None, off_us: int = 0
) -> None:
    """A reply to `TIME`, made at `at`, by a clock that is off by `off_us`."""
    made = (sent + received) / 2 if at is None else at
    clock.observe(sent, received, SERVER_US + off_us + int(made * 1e6))


@pytest.fixture
def clock() -> ServerClock:
    clock = ServerClock()
    sampled(clock, 100.0, 100.002, 100.0)
    return clock


@pytest.fixture
def fresh(clock: ServerClock) -> Freshness:
    return Freshness(clock, 5.0, 1000)


class TestServerClock:
    def test_nothing_is_known_before_the_first_sample(self) -> None:
        assert ServerClock().now_us(5.0) is None

    def test_it_is_never_before_the_server_and_at_most_a_round_trip_after_it(self) -> None:
        rng, clock = Random(1), ServerClock()
        shortest = 9.0
        for second in range(200):
            trip = rng.uniform(0.001, 0.3)
            shortest = min(shortest, trip)
            sampled(clock, second, second + trip, second + rng.random() * trip)
            now = clock.now_us(second + 0.5)
            assert now is not None
            ahead_s = (now - SERVER_US) / 1e6 - (second + 0.5)
            assert -1e-6 <= ahead_s <= shortest + 0.0005 * 200

    def test_a_longer_round_trip_changes_nothing_for_a_while(self, clock: ServerClock) -> None:
        before = clock.now_us(101.0)
        sampled(clock, 101.0, 101.5)
        assert clock.now_us(101.0) == before
        for second in range(102, 2000):
            sampled(clock, second, second + 0.5)
        assert clock.now_us(101.0) != before

    @pytest.mark.parametrize("off_us", [DAY_US, -DAY_US, 400_000, -400_000])
    def test_a_step_is_believed_at_once(self, clock: ServerClock, off_us: int) -> None:
        sampled(clock, 101.0, 101.3, 101.0, off_us)
        assert clock.now_us(101.0) == SERVER_US + off_us + 101_000_000

    def test_clocks_that_drift_are_no_step(self, clock: ServerClock) -> None:
        before = clock.now_us(0.0)
        sampled(clock, 110.0, 110.01, 110.0, off_us=14_000)
        assert clock.now_us(0.0) == before


class TestAge:
    def test_it_is_since_the_entry_was_written_not_since_it_arrived(self, fresh: Freshness) -> None:
        fresh.record(entry(93.0), 101.0)
        assert fresh.age_s(101.0) == pytest.approx(8.0, abs=0.01)
        assert fresh.age_s(103.0) == pytest.approx(10.0, abs=0.01)

    def test_it_is_unknown_before_an_entry(self, fresh: Freshness) -> None:
        assert fresh.age_s(101.0) is None
        assert (fresh.age_s(101.0), fresh.update(101.0)) == (None, False)

    @pytest.mark.parametrize(("is_new", "age_s"), [(False, None), (True, 0.0)])
    def test_an_entry_that_does_not_say_counts_from_its_arrival_if_it_came_after_the_load(
        self, fresh: Freshness, is_new: bool, age_s: float | None
    ) -> None:
        fresh.record(entry(None, is_new=is_new), 101.0)
        assert fresh.age_s(101.0) == age_s

    @pytest.mark.parametrize(("is_new", "age_s"), [(False, None), (True, 0.0)])
    def test_an_entry_from_the_future_is_of_another_clock(
        self, fresh: Freshness, is_new: bool, age_s: float | None
    ) -> None:
        fresh.record(entry(3600.0, is_new=is_new), 101.0)
        assert fresh.age_s(101.0) == age_s

    def test_a_moment_in_the_future_is_the_estimate_s_error(self, fresh: Freshness) -> None:
        fresh.record(entry(101.2), 101.0)
        assert fresh.age_s(101.0) == 0.0

    def test_an_older_one_does_not_hide_what_was_known(self, fresh: Freshness) -> None:
        fresh.record(entry(100.5), 101.0)
        fresh.record(entry(None), 102.0)
        assert fresh.age_s(102.0) == pytest.approx(1.5, abs=0.01)

    @pytest.mark.parametrize("off_us", [DAY_US, -DAY_US])
    def test_a_step_of_the_clock_changes_no_age(
        self, clock: ServerClock, fresh: Freshness, off_us: int
    ) -> None:
        fresh.record(entry(100.5), 101.0)
        sampled(clock, 101.0, 101.002, off_us=off_us)
        assert fresh.age_s(102.0) == pytest.approx(1.5, abs=0.01)

    def test_entries_read_before_the_clock_is_known_are_judged_later(self) -> None:
        clock = ServerClock()
        fresh = Freshness(clock, 5.0, 1000)
        fresh.record(entry(92.0), 100.0)
        assert not fresh.update(100.0)
        sampled(clock, 101.0, 101.002)
        assert fresh.age_s(102.0) == pytest.approx(10.0, abs=0.01)


class TestFresh:
    def test_books_are_stale_beyond_the_limit_and_live_again_at_half_of_it(self, fresh: Freshness) -> None:
        fresh.record(entry(101.0), 101.0)
        assert [fresh.update(now) for now in (101.0, 105.9, 106.1)] == [True, True, False]
        fresh.record(entry(104.0), 107.0)
        assert not fresh.update(107.0), "a reader that lags does not change with each entry"
        fresh.record(entry(105.0), 107.2)
        assert fresh.update(107.2)

    def test_input_lag_counts_beyond_its_limit_until_it_was_small_for_a_second(
        self, fresh: Freshness
    ) -> None:
        found = []
        for tenth, lag_ms in enumerate([1000, 1001, 600, *[500] * 5, 501, *[0] * 11, None, 1000]):
            now = 101 + tenth / 10
            fresh.record(entry(now, lag_ms=lag_ms), now)
            found.append(fresh.update(now))
        assert found == [True, *[False] * 18, *[True] * 3]
        assert not fresh.late
        assert fresh.lag_ms == 1000

    def test_an_ingestor_that_does_not_say_its_lag_has_none(self, fresh: Freshness) -> None:
        fresh.record(entry(101.0), 101.0)
        assert fresh.update(101.0)
        assert fresh.lag_ms is None

    def test_the_limits_themselves_are_within(self, clock: ServerClock) -> None:
        sampled(clock, 100.0, 100.0)
        fresh = Freshness(clock, 5.0, 1000)
        assert (fresh.late, fresh.lagging) == (True, False)
        fresh.record(entry(101.0), 101.0)
        assert [fresh.update(now) for now in (101.0, 106.0, 106.001)] == [True, True, False]
        assert fresh.late is True
        fresh.record(entry(104.5), 107.001)
        assert not fresh.update(107.001)
        fresh.record(entry(104.5), 107.0)
        assert fresh.update(107.0)
        assert fresh.late is False

    def test_half_of_the_limit_for_exactly_a_second_ends_lag(self, fresh: Freshness) -> None:
        for now, lag_ms, lagging in (
            (101.0, 1000, False),
            (101.1, 1001, True),
            (102.0, 500, True),
            (102.9, 500, True),
            (103.0, 500, False),
        ):
            fresh.record(entry(now, lag_ms=lag_ms), now)
            assert fresh.lagging is lagging

    def test_a_quarter_of_a_second_is_the_most_that_an_estimate_may_be_off(self, clock: ServerClock) -> None:
        found = []
        for written_s in (101.25, 101.251):
            fresh = Freshness(clock, 5.0, 1000)
            fresh.record(entry(written_s), 101.0)
            found.append(fresh.age_s(101.0))
        assert found == [0.0, None]


class TestSeals:
    def test_a_seal_makes_no_old_book_fresh(self, fresh: Freshness) -> None:
        fresh.record(entry(100.0), 100.0)
        assert fresh.update(101.0)
        fresh.record(seal(104.0), 104.0)
        assert fresh.update(104.9)
        assert not fresh.update(105.1), "nobody has said since what input waits"
        fresh.record(seal(106.0), 106.0)
        assert not fresh.update(106.0)
        fresh.record(entry(106.1, is_new=True), 106.1)
        assert fresh.update(106.1)

    def test_who_has_seen_nothing_else_takes_it_for_the_newest_entry(self, fresh: Freshness) -> None:
        fresh.record(seal(100.0), 100.0)
        assert fresh.update(100.0)
        fresh.record(seal(104.0), 104.0)
        assert fresh.update(108.9)
        fresh.record(entry(109.0), 109.0)
        fresh.record(seal(113.0), 113.0)
        assert not fresh.update(114.1)

    def test_a_seal_ends_no_input_lag(self, fresh: Freshness) -> None:
        fresh.record(entry(100.0, lag_ms=1001), 100.0)
        for second in range(101, 104):
            fresh.record(seal(second), second)
        assert fresh.lagging
