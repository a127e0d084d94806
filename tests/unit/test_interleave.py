"""The explorer finds existing races and proves the absence of others."""

import itertools

from tests.interleave import Schedule, explore

FILES = {__file__}


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def up(self) -> None:
        value = self.value
        self.value = value + 1


def totals(*, locked: bool, threads: int = 2, bound: int = 2) -> list[int]:
    found = []

    def prepare(schedule: Schedule) -> list[object]:
        counter, lock = Counter(), schedule.lock()

        def body() -> None:
            if locked:
                with lock:
                    counter.up()
            else:
                counter.up()

        found.append(counter)
        return [body] * threads

    for _ in explore(prepare, FILES, bound=bound):  # type: ignore[arg-type]
        pass
    return [counter.value for counter in found]


def test_finds_a_lost_update() -> None:
    assert set(totals(locked=False)) == {1, 2}
    assert set(totals(locked=False, threads=3)) == {1, 2, 3}


def test_without_preemption_nothing_is_lost() -> None:
    assert totals(locked=False, bound=0) == [2, 2]


def test_a_lock_makes_it_right() -> None:
    found = totals(locked=True, threads=3)
    assert set(found) == {3}
    assert len(found) > 50


def test_does_the_same_every_time() -> None:
    assert totals(locked=False) == totals(locked=False)


def test_no_schedule_runs_twice() -> None:
    seen = [
        tuple(choice.chosen for choice in schedule.choices)
        for schedule in explore(lambda _: [Counter().up, Counter().up], FILES, bound=2)
    ]
    assert len(seen) == len(set(seen))


def test_parts_together_are_all_schedules() -> None:
    def schedules(part: int = 0, parts: int = 1) -> list[tuple[int, ...]]:
        return [
            tuple(choice.chosen for choice in schedule.choices)
            for schedule in explore(lambda _: [Counter().up] * 3, FILES, bound=2, part=part, parts=parts)
        ]

    every = schedules()
    found = [schedules(part, 3) for part in range(3)]
    assert set().union(*found) == set(every)
    without_preemption = set(found[0]) & set(found[1])
    assert 1 < len(without_preemption) < 20
    assert sum(map(len, found)) == len(every) + 2 * len(without_preemption)
    assert max(map(len, found)) < len(every) / 2


def test_finds_a_deadlock() -> None:
    def prepare(schedule: Schedule) -> list[object]:
        locks = schedule.lock(), schedule.lock()

        def body(first: int) -> None:
            with locks[first]:
                pass_by = first
                with locks[1 - pass_by]:
                    pass

        return [lambda: body(0), lambda: body(1)]

    outcomes = {schedule.deadlocked for schedule in itertools.islice(explore(prepare, FILES, bound=1), 200)}  # type: ignore[arg-type]
    assert outcomes == {False, True}
