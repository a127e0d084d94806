"""Recordings of venues' own messages, read by the adapters of the live feed.

What tells a venue's lines, and the symbols in them, is here; what the lines mean, only the adapter knows.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from depthcast.feed.entry import Format, Head, LineReader, Source
from depthcast.feed.framing import Frame, Framing, frames, parse
from depthcast.feed.messages import Item, MessageRecording, Tops
from depthcast.feed.oracle import LEVELS_MOST
from depthcast.feed.tickers import Rule
from depthcast.feed.venue import Adapter, Output, Skipped, Snapshot, Update, Venue
from depthcast.shared.errors import FeedError

_ADDRESS: Final = re.compile(rb"(?:wss?|https?)://")
_TEXT: Final = rb'\s*:\s*("(?:[^"\\]|\\.)*")'


class Marks(NamedTuple):
    """How a venue's lines are told, without reading them.

    - `book`: matches a message of a book; `symbols`: finds the symbols in it, as JSON text.
    - `other`: matches other messages that only this venue has.
    - `hosts`: the host names of its addresses, in a capture.
    """

    book: re.Pattern[bytes]
    symbols: re.Pattern[bytes]
    hosts: re.Pattern[bytes]
    other: re.Pattern[bytes] | None = None


def marks(book: bytes, symbols: bytes, hosts: bytes, other: bytes = b"") -> Marks:
    """Compile patterns; `KEY` stands for a colon and the text after a key."""
    compiled = [re.compile(pattern.replace(b"KEY", _TEXT)) for pattern in (book, symbols)]
    return Marks(
        compiled[0],
        compiled[1],
        re.compile(rb"(?:wss?|https?)://[^/ ]*(?:" + hosts + rb")(?:[:/ ]|\Z)"),
        re.compile(other) if other else None,
    )


def venue_format(
    name: str,
    title: str,
    example: str,
    found: Marks,
    choose: Callable[[bytes], Venue],
    *,
    how: str,
    oracle: str = "",
    rule: Rule = Rule.SEQUENCE,
) -> Format:
    """Make the format of a venue. `choose` picks the venue by the first book message."""

    def matches(head: Head) -> bool:
        if parse(head.first) is None:
            return False
        addresses = [line for line in head.lines if _ADDRESS.match(line)]
        if addresses:
            return any(found.hosts.match(line) for line in addresses)
        return any(_is_of(found, line) for line in head.lines)

    def read(source: Source) -> MessageRecording:
        return _read(source, title, found, choose, rule)

    return Format(name=name, title=title, example=example, how=how, oracle=oracle, matches=matches, read=read)


def _is_of(found: Marks, line: bytes) -> bool:
    frame = parse(line)
    if frame is None or frame.kind is not Framing.RECEIVED:
        return False
    return bool(found.book.search(frame.body) or (found.other and found.other.search(frame.body)))


def _read(
    source: Source, title: str, found: Marks, choose: Callable[[bytes], Venue], rule: Rule
) -> MessageRecording:
    symbols: dict[str, None] = {}
    first = b""
    for frame in _all_frames(source):
        if frame.kind is not Framing.RECEIVED or not found.book.search(frame.body):
            continue
        first = first or frame.body
        for text in found.symbols.findall(frame.body):
            symbols[_decoded(text)] = None
    if not symbols:
        raise FeedError(source.path, 0, f"has no message of a book; is it a recording of {title}?")
    recording = _VenueMessages(source, choose(first), list(symbols), 1 if rule is Rule.ORDER else 0)
    hint = f"has no snapshot of {', '.join(symbols)}"
    return MessageRecording(source, recording.items, hint=hint, rule=rule, named=symbols)


def _decoded(text: bytes) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return text.strip(b'"').decode("utf-8", "replace")


class _VenueMessages:
    """The messages of a recording, as an adapter understands them."""

    def __init__(self, source: Source, venue: Venue, symbols: Sequence[str], levels: int) -> None:
        self._levels = levels
        self._source = source
        self._venue = venue
        self._symbols = symbols

    def items(self) -> Iterator[Item]:
        """Read the recording from its beginning with a new adapter."""
        adapter = self._venue.adapter()
        adapter.subscribe(self._symbols)
        opened, at_us = False, 0
        for frame in _all_frames(self._source):
            at_us = at_us if frame.at_us is None else frame.at_us
            outputs: Iterable[Output]
            if frame.kind is Framing.RECEIVED:
                outputs = self._message(adapter, frame, at_us)
            elif frame.kind is Framing.ANSWER:
                outputs = self._answer(adapter, frame, at_us)
            elif frame.kind is Framing.OPENED:
                outputs = list(adapter.lost()) if opened else []
                if opened:
                    adapter.subscribe(self._symbols)
                opened = True
            else:
                outputs = [Skipped("sent by the recorder")]
            for output in outputs:
                yield Item(output, frame.at_us, frame.line, frame.beside, self._top(adapter, output))

    def _top(self, adapter: Adapter, output: Output) -> Tops | None:
        if not isinstance(output, Snapshot | Update):
            return None
        levels = LEVELS_MOST if output.checked else self._levels
        return adapter.top(output.symbol, levels) if levels else None

    def _message(self, adapter: Adapter, frame: Frame, now: int) -> Iterable[Output]:
        """Take a message; some recorders write the answers to requests among them."""
        if self._venue.profile.snapshot_by_rest and _LAST_UPDATE.match(frame.body):
            named = _SYMBOL.search(frame.body)
            if named is None and len(self._symbols) > 1:
                raise FeedError(
                    self._source.path,
                    frame.line,
                    "a snapshot without a symbol, in a file of several symbols; split the file",
                )
            symbol = self._symbols[0] if named is None else _decoded(named[1])
            return adapter.take_snapshot(symbol, frame.body, now)
        return adapter.take(frame.body, now)

    def _answer(self, adapter: Adapter, frame: Frame, now: int) -> Iterable[Output]:
        named = _QUERY.search(frame.url)
        if not self._venue.profile.snapshot_by_rest or named is None or named[1] not in self._symbols:
            return [Skipped("answers to other requests")]
        return adapter.take_snapshot(named[1], frame.body, now)


_LAST_UPDATE: Final = re.compile(rb'\{[^{\[]{0,400}"lastUpdateId"\s*:')
_SYMBOL: Final = re.compile(rb'"symbol"' + _TEXT)
_QUERY: Final = re.compile(r"/depth\?(?:.*&)?symbol=([^&]+)")


_WS: Final = re.compile(r"(.*)\.ws\.[^.]+\.[^.]+\Z")


def _all_frames(source: Source) -> Iterator[Frame]:
    """Yield the recording's frames and, by time among them, those of the requests in files beside it."""
    own = frames(LineReader(source.path), source.lines())
    named = _WS.match(source.name)
    beside = source.beside(f"{named[1]}.http.*") if named else {}
    if not beside:
        return own
    others = [
        frames(LineReader(source.path.removesuffix(source.name) + name), lines(), name)
        for name, lines in sorted(beside.items())
    ]
    return merge(own, *others, key=lambda frame: frame.at_us or 0)
