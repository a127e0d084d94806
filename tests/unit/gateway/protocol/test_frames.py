"""Frames as RFC 6455 and RFC 7692 give them."""

import random
import zlib

import pytest

from depthcast.gateway.protocol.frames import BINARY, TEXT, close_frame, deflated, frame
from tests.unit.gateway.model_client import split_frames


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


@pytest.mark.parametrize(("opcode", "size"), [(TEXT, 125), (BINARY, 126), (TEXT, 65536), (BINARY, 1 << 20)])
def test_a_compressed_frame_inflates_by_itself_to_its_payload(opcode: int, size: int) -> None:
    payload = bytes(number % 7 for number in range(size))
    data = deflated(frame(opcode, payload), 1)
    assert data[0] == 0x80 | 0x40 | opcode
    ((_, compressed),) = split_frames(bytearray([0x80 | opcode]) + data[1:])
    assert zlib.decompressobj(wbits=-15).decompress(compressed + b"\x00\x00\xff\xff") == payload


@pytest.mark.parametrize(
    ("payload", "bytes_min"),
    [
        pytest.param(b"x" * 511, 512, id="too short"),
        pytest.param(b"x" * 512, 0, id="never"),
        pytest.param(random.Random(1).randbytes(600), 1, id="does not shrink"),
    ],
)
def test_a_frame_that_is_not_worth_it_stays_the_same_object(payload: bytes, bytes_min: int) -> None:
    plain = frame(TEXT, payload)
    data = deflated(plain, bytes_min)
    assert data is plain
