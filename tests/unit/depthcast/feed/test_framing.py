"""The frames that recorders put around a venue's messages."""

import pytest

from depthcast.feed.entry import LineReader
from depthcast.feed.framing import Framing, frames, parse
from depthcast.shared.errors import FeedError


@pytest.mark.parametrize(
    ("line", "at_us"),
    [
        (b'{"a":1}', None),
        (b"[1]", None),
        (b'1723161255 {"a":1}', 1723161255000000),
        (b'1723161255123 {"a":1}', 1723161255123000),
        (b'1723161255123456 {"a":1}', 1723161255123456),
        (b'1723161255123456789 {"a":1}', 1723161255123456),
        (b'1618678133.5: {"a":1}', 1618678133500000),
        (b'1618678133.1234567: {"a":1}', 1618678133123456),
        (b'1618678133: {"a":1}', 1618678133000000),
        (b'2024-08-08T23:54:15.1234567Z {"a":1}', 1723161255123456),
        (b'2024-08-08T23:54:15Z {"a":1}', 1723161255000000),
    ],
)
def test_a_received_message_and_its_time(line: bytes, at_us: int | None) -> None:
    frame = parse(line)
    assert frame is not None
    assert (frame.kind, frame.at_us) == (Framing.RECEIVED, at_us)
    assert frame.body in (b'{"a":1}', b"[1]")


@pytest.mark.parametrize(
    ("line", "kind", "url", "body"),
    [
        (b"wss://ws.kraken.com <-> 1618678132.3", Framing.OPENED, "wss://ws.kraken.com", b""),
        (b"wss://a/b <- 1618678132.8: {}", Framing.SENT, "wss://a/b", b"{}"),
        (b"https://a/depth?symbol=X -> 1618678132.8: {}", Framing.ANSWER, "https://a/depth?symbol=X", b"{}"),
    ],
)
def test_other_lines_of_a_capture(line: bytes, kind: Framing, url: str, body: bytes) -> None:
    frame = parse(line)
    assert frame is not None
    assert (frame.kind, frame.url, frame.body) == (kind, url, body)


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"12345 {}", b"17231612551234567 {}", b"2024-13-08T23:54:15Z {}", b"wss://a 1618678132"],
)
def test_a_line_without_a_known_frame_is_refused_by_its_number(line: bytes) -> None:
    assert parse(line) is None
    with pytest.raises(FeedError, match="expected a message") as caught:
        list(frames(LineReader("f"), [b"{}", line or b"x"]))
    assert caught.value.line == 2
