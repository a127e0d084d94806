"""One write of the same bytes for each client."""

from collections.abc import Callable

from depthcast.gateway.delivery.fan_out import write_to_each
from depthcast.gateway.delivery.writer import Send


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


def test_everybody_is_sent_the_same_bytes_once() -> None:
    taken: list[list[bytes]] = [[] for _ in range(3)]
    assert write_to_each(dict(enumerate(map(taking, taken))), b"frame") == []
    assert taken == [[b"frame"]] * 3


def test_those_that_took_less_are_returned_and_keep_nobody_else_from_it() -> None:
    taken: list[bytes] = []
    short, full, gone = taking([], 2), failing(BlockingIOError()), failing(BrokenPipeError())
    sends: dict[str, Send] = {"short": short, "full": full, "gone": gone, "fine": taking(taken)}
    assert write_to_each(sends, b"frame") == [(short, 2), (full, 0), (gone, 0)]
    assert taken == [b"frame"]


def test_there_may_be_nobody() -> None:
    assert write_to_each({}, b"frame") == []
