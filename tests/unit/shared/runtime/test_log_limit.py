"""How often the same thing is logged."""

import logging

from depthcast.shared.runtime.log_limit import BURST, KINDS_MAX, PERIOD_S, RateLimit


class Scene:
    def __init__(self) -> None:
        self.s = 0.0
        self.limit = RateLimit(lambda: self.s)

    def passes(
        self, text: str = "refused %s", *, name: str = "a", level: int = logging.INFO, value: object = 1
    ) -> bool:
        self.record = logging.LogRecord(name, level, "x.py", 1, text, (value,), None)
        return bool(self.limit.filter(self.record))


def test_so_many_of_a_kind_in_a_period_whatever_their_values() -> None:
    scene = Scene()
    assert [scene.passes(value=number) for number in range(BURST + 2)] == [True] * BURST + [False] * 2
    scene.s = PERIOD_S - 0.001
    assert not scene.passes()


def test_the_first_one_afterwards_says_how_many_were_left_out() -> None:
    scene = Scene()
    for _ in range(BURST + 7):
        scene.passes()
    scene.s = PERIOD_S
    assert scene.passes()
    assert vars(scene.record)["left_out"] == 7
    assert scene.passes()
    assert "left_out" not in vars(scene.record)


def test_nothing_is_said_where_nothing_was_left_out() -> None:
    scene = Scene()
    for _ in range(BURST):
        scene.passes()
    scene.s = PERIOD_S
    assert scene.passes()
    assert "left_out" not in vars(scene.record)


def test_other_kinds_are_not_limited_by_it() -> None:
    scene = Scene()
    while scene.passes():
        pass
    assert scene.passes("another")
    assert scene.passes(name="b")
    assert scene.passes(level=logging.ERROR)


def test_kinds_do_not_grow_without_bound() -> None:
    scene = Scene()
    for number in range(3 * KINDS_MAX):
        assert scene.passes(str(number))
    assert len(scene.limit._kinds) <= KINDS_MAX
