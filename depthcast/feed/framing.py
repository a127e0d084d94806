"""How recordings frame a venue's messages: what a line holds besides the message itself.

1723161255000000000 {…}             time and message (10 digits s, 13 ms, 16 µs, 19 ns)
2024-08-08T23:54:15.123456Z {…}     likewise, in UTC
1618678134.25: {…}                  capture: a message that was received
wss://ws.kraken.com <-> 1618678133  capture: a connection was opened
wss://ws.kraken.com <- 1618…: {…}   capture: a message that the recorder sent
https://… -> 1633998512.32: {…}     capture: the answer to a request, often in a file of its own
{…}                                 the message alone
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from depthcast.feed.entry import LineReader


class Framing(StrEnum):
    """What a line is."""

    RECEIVED = "received"
    OPENED = "opened"
    SENT = "sent"
    ANSWER = "answer"


class Frame(NamedTuple):
    """One line: `body` without its frame; `url` of a connection or a request; `at_us` since 1970."""

    kind: Framing
    at_us: int | None
    body: bytes
    line: int
    url: str = ""
    beside: str = ""


_STAMPED: Final = re.compile(rb"(\d{10}|\d{13}|\d{16}|\d{19}) (.*)\Z", re.DOTALL)
_DATED: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z ([\[{].*)\Z", re.DOTALL)
_RECEIVED: Final = re.compile(rb"(\d{9,11})(?:\.(\d{1,9}))?: (.*)\Z", re.DOTALL)
_CONNECTION: Final = re.compile(
    rb"((?:wss?|https?)://\S+) (<->|<-|->) (\d{9,11})(?:\.(\d{1,9}))?(?:: (.*))?\Z", re.DOTALL
)
_KINDS: Final = {b"<->": Framing.OPENED, b"<-": Framing.SENT, b"->": Framing.ANSWER}
_UNIT: Final = {10: 1_000_000, 13: 1000, 16: 1}


def frames(reader: LineReader, lines: Iterable[bytes], beside: str = "") -> Iterator[Frame]:
    """Yield the lines of a recording without their frames; raises `FeedError` for a line that has none."""
    for line in reader.lines(lines):
        frame = parse(line, reader.line)
        if frame is None:
            raise reader.error(
                "expected a message, alone or after its time, or a line of a capture; is the file cut off?"
            )
        yield frame._replace(beside=beside) if beside else frame


def parse(line: bytes, number: int = 0) -> Frame | None:
    """Return a line without its frame; None if it has none of the known ones."""
    if line[:1] in b"{[" and line:
        return Frame(Framing.RECEIVED, None, line, number)
    if match := _STAMPED.match(line):
        return Frame(Framing.RECEIVED, _stamp_us(match[1]), match[2], number)
    if match := _RECEIVED.match(line):
        return Frame(Framing.RECEIVED, _seconds_us(match[1], match[2]), match[3], number)
    if match := _CONNECTION.match(line):
        at_us = _seconds_us(match[3], match[4])
        return Frame(_KINDS[match[2]], at_us, match[5] or b"", number, match[1].decode("utf-8", "replace"))
    if match := _DATED.match(line):
        return _dated(match, number)
    return None


def _dated(match: re.Match[bytes], number: int) -> Frame | None:
    try:
        whole = int(datetime.fromisoformat(match[1].decode() + "+00:00").timestamp())
    except ValueError:
        return None
    return Frame(Framing.RECEIVED, _seconds_us(str(whole).encode(), match[2]), match[3], number)


def _stamp_us(digits: bytes) -> int:
    unit = _UNIT.get(len(digits))
    return int(digits) // 1000 if unit is None else int(digits) * unit


def _seconds_us(seconds: bytes, fraction: bytes | None) -> int:
    return int(seconds) * 1_000_000 + int((fraction or b"0")[:6].ljust(6, b"0"))
