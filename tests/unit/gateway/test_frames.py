"""Frames as RFC 6455 gives them."""

import pytest

from gateway.closing import REASONS, CloseCode
from gateway.frames import BINARY, TEXT, close_frame, frame
from tests.unit.gateway.market import split_frames


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_takes_the_shortest_form(size: int, header: bytes) -> None:
    assert frame(TEXT, b"x" * size) == header + b"x" * size


def test_binary_has_its_own_opcode() -> None:
    assert list(split_frames(bytearray(frame(BINARY, b"ab") + frame(TEXT, b"c")))) == [(2, b"ab"), (1, b"c")]


def test_a_close_frame_carries_code_and_reason() -> None:
    assert close_frame(4410, "slow") == b"\x88\x06\x11\x3aslow"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"


def test_a_long_reason_is_cut_between_characters() -> None:
    data = close_frame(1008, "é" * 100)
    assert len(data) <= 2 + 125
    assert data[4:].decode() == "é" * 61


def test_every_close_code_has_a_reason() -> None:
    assert set(REASONS) == set(CloseCode)
