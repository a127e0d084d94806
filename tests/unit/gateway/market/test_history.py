"""The steps kept of a view, and their bounds."""

import gc
import platform
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthcast.gateway.market.history
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.history import History, HistoryBound
from depthcast.gateway.market.step import Step, ViewState
from depthcast.gateway.protocol.messages import Row, ViewDelta


def step(broadcast: int, rows: int = 1) -> Step:
    return Step(
        broadcast, ViewDelta(broadcast - 1, 100 + broadcast, 0, [(1, 2, 3)] * rows, [], 7 * broadcast)
    )


def history(steps_max: int, *steps: Step, packed: int = 0) -> History:
    """A history that is packed after the first `packed` steps."""
    made = History(HistoryBound(steps_max), GatewayCounters())
    for number, each in enumerate(steps, 1):
        made.append(each)
        if number == packed:
            made.pack()
    return made


def broadcasts(made: History) -> list[int]:
    return [each.broadcast for each in made.since(0)]


PACKED = pytest.mark.parametrize("packed", range(5))
LIMIT = 2**53 - 1


@given(
    st.lists(st.tuples(st.integers(-LIMIT, LIMIT), st.integers(0, LIMIT), st.integers(0, LIMIT)), max_size=9),
    st.lists(st.tuples(st.integers(-LIMIT, LIMIT), st.integers(0, LIMIT), st.integers(0, LIMIT)), max_size=9),
    st.tuples(*[st.integers(0, LIMIT)] * 4),
    st.integers(0, 2**32 - 1),
    st.none() | st.integers(0, LIMIT),
)
def test_a_packed_step_is_the_same_step(
    bids: list[Row], asks: list[Row], numbers: tuple[int, ...], digest: int, event_ts: int | None
) -> None:
    broadcast, prev_seq, seq, ts = numbers
    delta = ViewDelta(prev_seq, seq, ts, bids, asks, digest, event_ts)
    made = history(1, Step(broadcast, delta), packed=1)
    (found,) = made.since(0)
    assert (found.broadcast, found.delta) == (broadcast, delta)
    assert found.rows == len(bids) + len(asks)
    assert made.state_at(seq) == ViewState(broadcast, seq, digest)


def objects_tracked(made: History) -> int:
    """Objects of a history that the garbage collector walks through."""
    waiting: list[object] = [made]
    seen: dict[int, object] = {}
    while waiting:
        found = waiting.pop()
        if gc.is_tracked(found) and not isinstance(found, type | HistoryBound) and id(found) not in seen:
            seen[id(found)] = found
            waiting += gc.get_referents(found)
    return len(seen)


def test_packed_steps_are_nothing_for_the_garbage_collector() -> None:
    few = history(99, *[step(number, rows=3) for number in range(1, 3)], packed=2)
    many = history(99, *[step(number, rows=3) for number in range(1, 99)], packed=98)
    assert objects_tracked(many) == objects_tracked(few)


PROGRAM = """
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.history import History, HistoryBound
from depthcast.gateway.market.step import Step
from depthcast.gateway.protocol.messages import ViewDelta
from depthcast.gateway.runtime.memory import resident_bytes, trim

trim()
before, stay = resident_bytes(), []
histories = [History(HistoryBound(256), GatewayCounters()) for _ in range(400)]
for number in range(200):
    for history in histories:
        history.append(Step(number, ViewDelta(number, number + 1, 0, [(1, 2, 3)] * 4, [], 5)))
        history.pack()
    stay.append([bytes(size) for size in range(16, 512, 16)])  # what others need meanwhile lies in between
full = resident_bytes()
del histories, history
trim()
print(full - before, resident_bytes() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when asked to")
def test_the_memory_of_histories_that_are_gone_is_given_back() -> None:
    """In pieces among the objects of others it would stay for as long as those do."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    grown, left = map(int, done.stdout.split())
    assert grown > 12_000_000
    assert left < grown / 2


def test_the_oldest_packed_steps_go_and_the_others_stay_as_they_are() -> None:
    made = History(HistoryBound(7), GatewayCounters())
    for number in range(1, 200):
        made.append(step(number, rows=number % 5))
        made.pack()
        kept = [*range(max(1, number - 6), number + 1)]
        assert [(each.broadcast, each.rows) for each in made.since(0)] == [(at, at % 5) for at in kept]
        assert made.base.broadcast == kept[0] - 1
        assert made.index_after(number - 2) == len(kept) - min(2, len(kept))


@PACKED
def test_the_oldest_steps_go_first_and_the_base_is_what_they_led_to(packed: int) -> None:
    made = history(2, step(3), step(5), step(6), step(9), packed=packed)
    assert broadcasts(made) == [6, 9]
    assert made.base == ViewState(5, 105, 35)
    assert len(made) == 2


@pytest.mark.parametrize("pack", [False, True])
def test_rows_are_bounded_too(monkeypatch: pytest.MonkeyPatch, *, pack: bool) -> None:
    monkeypatch.setattr(depthcast.gateway.market.history, "ROWS_KEPT_MAX", 10)
    counters = GatewayCounters()
    made = History(HistoryBound(100), counters)
    for number in (1, 2, 3):
        made.append(step(number, rows=5))
        if pack:
            made.pack()
    assert broadcasts(made) == [2, 3]
    assert counters.limit_history == 1
    made.append(step(4, rows=11))
    assert not made.since(0)
    assert made.base.broadcast == 4
    made.append(step(5, rows=10))
    assert len(made) == 1, "rows that went are not counted any more"


@pytest.mark.parametrize(("histories", "kept"), [(1, 5), (2, 5), (3, 3), (10, 1), (99, 1)])
def test_all_histories_together_are_bounded(histories: int, kept: int) -> None:
    bound = HistoryBound(5, 10)
    made = History(bound, GatewayCounters())
    for number in range(1, 9):
        made.append(step(number))
    assert len(made) == 5
    bound.share(histories)
    made.append(step(9))
    assert len(made) == kept
    bound.share(1)
    for number in range(10, 20):
        made.append(step(number))
    assert len(made) == 5


def test_a_restart_forgets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depthcast.gateway.market.history, "ROWS_KEPT_MAX", 10)
    made = history(100, step(1, rows=9), step(2, rows=1), packed=1)
    made.restart(ViewState(7, 107, 1))
    assert (len(made), made.base) == (0, ViewState(7, 107, 1))
    made.append(step(8, rows=9))
    assert len(made) == 1


@PACKED
def test_the_state_at_a_seq_is_the_newest_up_to_it(packed: int) -> None:
    made = history(2, step(3), step(5), step(9), packed=packed)
    found = {seq: made.state_at(seq).broadcast for seq in (0, 103, 104, 105, 108, 109, 999)}
    assert found == {0: 3, 103: 3, 104: 3, 105: 5, 108: 5, 109: 9, 999: 9}


@PACKED
def test_the_first_step_after_a_cursor(packed: int) -> None:
    made = history(9, step(3), step(5), step(9), packed=packed)
    assert [made.index_after(cursor) for cursor in (0, 2, 3, 4, 5, 8, 9)] == [0, 0, 1, 1, 2, 2, 3]
    assert [made.broadcast(index) for index in range(3)] == [3, 5, 9]
    assert [[each.broadcast for each in made.since(index)] for index in range(4)] == [
        [3, 5, 9], [5, 9], [9], []
    ]  # fmt: skip
