"""What a batch does, in Python and in C, sending by Python's functions."""

from collections.abc import Callable

import pytest

from depthcast.gateway.delivery.fan_out import Batch, DirectBatch
from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.runtime import submission

BATCHES: list[Callable[[], Batch]] = [DirectBatch]
if submission.in_c is not None:
    BATCHES.append(submission.in_c.Batch)


@pytest.fixture(params=BATCHES, ids=["python", "c"][: len(BATCHES)])
def batch(request: pytest.FixtureRequest) -> Batch:
    made: Batch = request.param()
    return made


def taking(taken: list[bytes], most: int | None = None) -> Send:
    def send(data: bytes) -> int:
        part = data if most is None else data[:most]
        taken.append(part)
        return len(part)

    return send


def failing(error: Exception) -> Callable[[bytes], int]:
    def send(_data: bytes) -> int:
        raise error

    return send


def test_everybody_is_sent_the_same_bytes_once(batch: Batch) -> None:
    taken: list[list[bytes]] = [[] for _ in range(3)]
    assert batch.add("owner", dict(enumerate(map(taking, taken))), [b"fra", b"me"]) == 5
    assert batch.finish() == []
    assert taken == [[b"frame"]] * 3


def test_those_that_took_less_are_returned_and_keep_nobody_else_from_it(batch: Batch) -> None:
    taken: list[bytes] = []
    short, full, gone = taking([], 2), failing(BlockingIOError()), failing(BrokenPipeError())
    batch.add("A", {"short": short, "full": full, "gone": gone, "fine": taking(taken)}, [b"frame"])
    expected = [("A", "short", b"frame", 2), ("A", "full", b"frame", 0), ("A", "gone", b"frame", 0)]
    assert batch.finish() == expected
    assert taken == [b"frame"]
    assert batch.finish() == [], "said once"


def test_nothing_overtakes_the_rest_of_a_short_send(batch: Batch) -> None:
    taken: list[bytes] = []
    short = taking(taken, 2)
    batch.add("A", {1: short}, [b"frame"])
    batch.add("B", {2: short}, [b"next"])
    assert batch.finish() == [("A", 1, b"frame", 2), ("B", 2, b"next", 0)]
    assert taken == [b"fr"]
    batch.add("A", {1: short}, [b"ok"])
    assert batch.finish() == [], "by then, the rest was written"
    assert taken == [b"fr", b"ok"]


def test_there_may_be_nobody(batch: Batch) -> None:
    assert batch.add(None, {}, [b"frame"]) == 5
    assert batch.finish() == []


def test_what_fails_otherwise_is_raised(batch: Batch) -> None:
    with pytest.raises(ZeroDivisionError):
        batch.add(None, {1: failing(ZeroDivisionError())}, [b"frame"])


def test_a_send_may_change_who_is_sent_to(batch: Batch) -> None:
    sends: dict[int, Send] = {}
    taken: list[bytes] = []

    def leave(data: bytes) -> int:
        return len(data)

    sends.update({1: leave, 2: taking(taken)})
    batch.add(None, sends, [b"frame"])
    assert taken == [b"frame"]
