"""Frame headers by the letter of RFC 6455, checked before the payload."""

import pytest
from websockets.frames import Frame, Opcode

from depthcast.gateway.protocol.frame_check import FrameCheck, FrameError

LIMIT = 100_000
KEY = b"\x01\x02\x03\x04"


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def check(*, compressed: bool = False) -> FrameCheck:
    return FrameCheck(LIMIT, compressed=compressed)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, LIMIT])
@pytest.mark.parametrize("step", [1, 7, 4_096, 10**6])
def test_pieces_end_with_the_frame_however_the_bytes_come(size: int, step: int) -> None:
    if step == 1 and size > 1000:
        step = 999
    first = masked(Opcode.BINARY, bytes(size))
    stream = first + masked(Opcode.PING, b"x")
    frames, pending, ends, taken = check(), bytearray(), [], 0
    for start in range(0, len(stream), step):
        pending += stream[start : start + step]
        while count := frames.take(pending, 4_096):
            assert count <= 4_096 + 14
            del pending[:count]
            taken += count
            if not frames.missing:
                assert frames.taken == 0
                ends.append(taken)
    assert ends == [len(first), len(stream)]
    assert not pending


def test_what_was_taken_of_an_unfinished_frame_is_known() -> None:
    frames, pending = check(), bytearray(masked(Opcode.TEXT, bytes(1000))[:500])
    while count := frames.take(pending, 64):
        del pending[:count]
    assert (frames.taken, frames.missing) == (500, 508)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"\x81\x00", "not masked"),
        (b"\x83\x80", "an opcode for data that is reserved"),
        (b"\x8b\x80", "an opcode for control that is reserved"),
        (b"\xa1\x80", "RSV2"),
        (b"\x91\x80", "RSV3"),
        (b"\xc1\x80", "RSV1 without compression"),
        (b"\x09\x80", "a fragmented ping"),
        (b"\x88\xfe", "a long close"),
        (b"\x81\xfe\x00\x7d" + KEY, "125 bytes in the longer form"),
        (b"\x81\xff" + (65_535).to_bytes(8, "big") + KEY, "65,535 bytes in the longest form"),
    ],
)
def test_a_header_that_breaks_a_rule_ends_the_connection_1002(head: bytes, why: str) -> None:
    with pytest.raises(FrameError) as raised:
        check().take(bytearray(head), 100)
    assert raised.value.code == 1002, why


@pytest.mark.parametrize("head", [b"\xc0\x80", b"\xc9\x80", b"\xc8\x80"])
def test_only_the_first_frame_of_a_message_is_marked_as_compressed(head: bytes) -> None:
    with pytest.raises(FrameError) as raised:
        check(compressed=True).take(bytearray(head), 100)
    assert raised.value.code == 1002
    assert check(compressed=True).take(bytearray(b"\xc1\x80" + KEY), 100) == 6


@pytest.mark.parametrize("size", [LIMIT + 1, 2**63, 2**64 - 1])
def test_a_frame_that_says_it_is_too_long_ends_the_connection_1009(size: int) -> None:
    with pytest.raises(FrameError) as raised:
        check().take(bytearray(b"\x82\xff" + size.to_bytes(8, "big") + KEY), 100)
    assert raised.value.code == 1009


@pytest.mark.parametrize("length", range(1, 14))
def test_an_incomplete_header_waits(length: int) -> None:
    head = b"\x82\xff" + (70_000).to_bytes(8, "big") + KEY
    assert check().take(bytearray(head[:length]), 100) == 0
