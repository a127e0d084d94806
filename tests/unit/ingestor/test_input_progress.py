"""How old the oldest unread input is, and how much was lost unread."""

from random import Random

import pytest

from depthcast.ingestor.input_progress import InputProgress
from depthcast.shared.position import Position

Ids = list[Position]


def at(ms: int, n: int = 0) -> Position:
    return Position(ms, n)


def begun(entries: int | None = 10, lost: int = 0) -> InputProgress:
    """At 1000-0, the tenth entry of a log that ended there at 5000 ms."""
    progress = InputProgress(at(1000), entries, lost)
    assert progress.record_end(at(1000), entries or 10, 5000) == 0
    return progress


class TestLag:
    def test_nothing_unread_is_no_lag(self) -> None:
        assert begun().lag_ms(at(1000), 9000) == 0

    def test_it_is_the_age_of_the_oldest_entry_that_is_not_consumed(self) -> None:
        progress = begun()
        progress.record_read([at(6000), at(7000), at(8000)], None)
        assert [progress.lag_ms(at(ms), 9000.9) for ms in (1000, 6000, 7500, 8000)] == [3000, 2000, 1000, 0]

    def test_entries_that_were_not_read_yet_are_at_most_as_old_as_the_last_one_read(self) -> None:
        progress = begun()
        progress.record_read([at(6000)], None)
        progress.record_end(at(8000), 20, 8500)
        assert progress.lag_ms(at(6000), 9000) == 3000

    def test_nor_older_than_the_last_time_there_was_nothing(self) -> None:
        progress = begun()
        progress.record_end(at(1000), 10, 7000)
        progress.record_end(at(8000), 11, 8500)
        assert progress.lag_ms(at(1000), 9000) == 2000

    def test_a_new_leader_counts_from_its_own_beginning(self) -> None:
        progress = InputProgress(at(1000), 10, 0)
        progress.record_end(at(2000), 12, 5000)
        assert progress.lag_ms(at(1000), 5100) == 100
        progress.record_end(at(2500), 13, 6000)
        assert progress.lag_ms(at(1000), 6100) == 1100
        progress.record_read([at(1500)], None)
        assert progress.lag_ms(at(1000), 6100) == 4600

    def test_a_new_leader_says_how_long_the_oldest_input_has_waited_before_it_and_while_it_catches_up(
        self,
    ) -> None:
        progress = InputProgress(at(1000), 10, 0, oldest=at(1200))
        progress.record_end(at(3000), 13, 9000)
        assert progress.lag_ms(at(1000), 9000) == 7800
        progress.record_read([at(1200)], None)
        assert [progress.lag_ms(at(ms), 9000) for ms in (1000, 1200)] == [7800, 7800]
        progress.record_read([at(2500)], None)
        assert progress.lag_ms(at(2500), 9500) == 7000
        progress.record_read([at(3000)], None)
        assert progress.lag_ms(at(3000), 9500) == 0

    def test_ids_ahead_of_the_clock_are_no_negative_age(self) -> None:
        progress = begun()
        progress.record_read([at(9500)], None)
        assert progress.lag_ms(at(1000), 9000) == 0

    def test_entries_that_are_gone_are_not_waited_for(self) -> None:
        progress = begun()
        progress.record_end(at(8000), 12, 8500)
        assert progress.lag_ms(at(1000), 9500) == 4500
        assert progress.record_read([], progress.begin_read()) == 2
        assert progress.lag_ms(at(1000), 9500) == 0


class TestLost:
    def test_everything_read_is_nothing_lost(self) -> None:
        progress = begun()
        assert progress.record_read([at(6000), at(7000)], None) == 0
        assert progress.record_end(at(7000), 12, 8000) == 0
        progress.publish(at(6000))
        assert (progress.entries, progress.lost) == (11, 0)
        progress.publish(at(7000))
        assert (progress.entries, progress.lost) == (12, 0)

    @pytest.mark.parametrize("published", [False, True])
    def test_what_was_deleted_in_between_is_counted_once(self, published: bool) -> None:
        progress = begun(lost=5)
        progress.record_read([at(6000)], None)
        if published:
            progress.publish(at(6000))
        progress.record_end(at(8000), 16, 8500)
        assert progress.record_read([at(7000)], None) == 0, "8000-0 may come yet"
        assert progress.record_read([at(9000)], None) == 4
        assert progress.record_end(at(9000), 17, 9500) == 0
        progress.publish(at(9000))
        assert (progress.entries, progress.lost) == (17, 9)

    def test_under_steady_lag_it_is_noticed_too(self) -> None:
        progress = begun()
        progress.record_end(at(20_000), 110, 20_000)
        found = 0
        for ms in range(19_950, 20_100):
            found += progress.record_read([at(ms)], progress.begin_read())
            progress.publish(at(ms))
            found += progress.record_end(at(ms + 500), 110 + (ms + 500 - 20_000), ms + 500)
        assert found == 100 - 51

    def test_an_empty_reply_says_nothing_about_what_came_after_its_question(self) -> None:
        progress = begun()
        before = progress.begin_read()
        progress.record_end(at(8000), 12, 8500)
        assert progress.record_read([], before) == 0
        assert progress.record_read([at(7000), at(8000)], None) == 0

    def test_a_leader_that_does_not_know_where_it_began_finds_out(self) -> None:
        progress = InputProgress(at(1000), None, 3)
        progress.record_read([at(6000), at(7000)], None)
        assert progress.record_end(at(7000), 400, 8000) == 0
        progress.publish(at(6000))
        assert (progress.entries, progress.lost) == (399, 3)
        progress.record_end(at(8000), 402, 8500)
        assert progress.record_read([at(8000)], None) == 1

    def test_a_log_that_began_again_is_said(self) -> None:
        progress = begun(entries=500)
        assert progress.record_end(at(6000), 2, 6000) == 0
        assert progress.record_read([at(5500), at(6000)], None) == 0
        assert (progress.restarted, progress.lost) == (True, 0)
        progress.publish(at(6000))
        assert progress.entries == 2
        progress.record_end(at(6000), 2, 7000)
        assert not progress.restarted

    def test_a_log_that_began_again_before_its_end_was_read(self) -> None:
        progress = begun(entries=500)
        progress.record_end(at(9000), 600, 9000)
        progress.record_end(at(8000), 1, 9100)
        progress.record_read([at(8000)], None)
        assert (progress.restarted, progress.lost) == (True, 0)


class Log:
    """A naive input log, read, deleted from and counted at random; leaders change."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now_ms = 1000
        self.log: Ids = []
        self.added = 0
        self.end = self.src = at(0)
        self.read_to = at(0)
        self.lost = 0
        self.progress = InputProgress(self.src, 0, 0)
        self.published: tuple[Position, int | None, int] = (self.src, 0, 0)

    def step(self) -> None:
        self.now_ms += self.rng.randint(0, 50)
        self.rng.choice((self.add, self.add, self.read, self.read, self.publish, self.delete, self.change))()

    def add(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            self.end = at(self.now_ms) if self.now_ms > self.end.epoch else at(self.end.epoch, self.end.n + 1)
            self.log.append(self.end)
            self.added += 1

    def read(self) -> None:
        milestone = self.progress.begin_read()
        batch = [entry for entry in self.log if entry > self.read_to][: self.rng.randint(1, 5)]
        self.progress.record_read(batch, milestone)
        self.read_to = max([self.read_to, *batch])

    def publish(self) -> None:
        ready = [entry for entry in self.log if self.src < entry <= self.read_to]
        if ready:
            self.src = self.rng.choice(ready)
        self.progress.publish(self.src)
        self.published = self.src, self.progress.entries, self.progress.lost
        self.progress.record_end(self.end, self.added, self.now_ms)

    def delete(self) -> None:
        going = (
            self.log[: self.rng.randint(0, 3)]
            if self.rng.random() < 0.7
            else self.rng.sample(self.log, min(len(self.log), 1))
        )
        for entry in going:
            self.log.remove(entry)
            self.lost += entry > self.read_to

    def change(self) -> None:
        """Another leader goes on after the last published entry, which still has all that was read."""
        if self.src == self.read_to:
            self.progress = InputProgress(*self.published)
            self.progress.record_end(self.end, self.added, self.now_ms)

    def settle(self) -> None:
        for _ in range(3):
            for _ in range(len(self.log) + 1):
                self.read()
            self.src = self.read_to
            self.publish()


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_as_many_are_lost_as_were_deleted_unread(first: int) -> None:
    for seed in range(first, first + 25):
        log = Log(seed)
        for _ in range(150):
            log.step()
            assert log.progress.lost <= log.lost, seed
        log.settle()
        assert log.progress.lost == log.lost, seed
        assert log.progress.entries == log.added, seed
