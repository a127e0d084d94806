"""Decodes large arrays of events in pieces, so that no large value is ever decoded whole.

A value can decode to 90 times its size: an empty list is one byte. `open_array` checks a value chunk by chunk
and keeps only where chunks begin and end; its events are then decoded one chunk at a time. So a value that is
malformed anywhere is refused before the first of its events applies.
"""

import codecs
import json
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgpack

from depthcast.ingestor.decoding import (
    BOUNDED_DECODER,
    DECODER,
    JSON_ARRAY,
    TOO_DEEP,
    RoundedFloat,
    UndecodableError,
    nests_too_deep,
    read_json,
    why_no_json,
)
from depthcast.ingestor.events import read_events
from depthcast.ingestor.limits import SMALL_BYTES, Limits
from depthcast.ingestor.rejects import Reason
from depthcast.shared.codec import unpack
from depthcast.shared.errors import CodecError

CHUNK_EVENTS: Final = 500

EVENT_BYTES_MOST: Final = 1 << 16
"""A single event of a large array may have this many bytes. A chunk has at most twice as many."""

_CUT_CHARS: Final = 16
"""A cut value is an error or a shorter number in the last characters of a text, or an unterminated string."""

_BLANKS: Final = " \t\n\r"
_NUMBERS: Final = {int, float, RoundedFloat}


class Chunk(NamedTuple):
    """Some whole events of a value: its bytes from `start` to `end`."""

    start: int
    end: int
    events: int


class Array(NamedTuple):
    """A checked value: the reason to refuse it as a whole, or its events in pieces.

    `events`: how many there are, 1 if that is unknown. `detail`: what is wrong with a value that is refused.
    """

    refused: Reason | None
    events: int
    pieces: Iterable[Sequence[Any]]
    detail: str = ""


def open_array(raw: bytes, limits: Limits) -> Generator[None, None, Array]:
    """Check a value of a large entry. Yields between slices of work; returns the result."""
    if len(raw) <= SMALL_BYTES:
        try:
            whole = read_events(raw)
        except UndecodableError as error:
            return Array(Reason.MALFORMED, 1, (), str(error))
        pieces: Iterable[Sequence[Any]] = (whole,)
        events = len(whole)
    else:
        chunks: list[Chunk] = []
        try:
            for chunk in _json_chunks(raw) if raw.startswith(JSON_ARRAY) else _msgpack_chunks(raw):
                chunks.append(chunk)
                yield
        except _RefusedValueError as refusal:
            return Array(refusal.reason, 1, (), refusal.detail)
        except (CodecError, ValueError, RecursionError, msgpack.UnpackException) as error:
            return Array(Reason.MALFORMED, 1, (), _why_malformed(raw, error))
        pieces = (decode(raw, chunk) for chunk in chunks)
        events = sum(chunk.events for chunk in chunks)
    if events > limits.array_events_max:
        return Array(Reason.TOO_MANY_EVENTS, events, ())
    return Array(None, events, pieces)


def decode(raw: bytes, chunk: Chunk) -> Sequence[Any]:
    """The events of a chunk; for a value that was checked, it raises only `MemoryError`."""
    part = raw[chunk.start : chunk.end]
    if raw.startswith(JSON_ARRAY):
        text = part.decode().lstrip(_BLANKS).removeprefix(",")
        events: Sequence[Any] = read_json(f"[{text}]")
    else:
        events = unpack(struct.pack(">BH", 0xDC, chunk.events) + part, "input")
    return events


class _RefusedValueError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)


def _too_big(at: int) -> _RefusedValueError:
    detail = f"the value has an event of more than {EVENT_BYTES_MOST} bytes, near byte {at}"
    return _RefusedValueError(Reason.TOO_BIG, detail)


def _malformed(problem: str, at: int) -> _RefusedValueError:
    return _RefusedValueError(Reason.MALFORMED, f"the value is {problem} near byte {at}")


def _why_malformed(raw: bytes, error: Exception) -> str:
    if raw.startswith(JSON_ARRAY):
        return f"the value is {why_no_json(error)}"
    return f"the value is no array of events in msgpack ({str(error) or type(error).__name__})"


def _msgpack_chunks(raw: bytes) -> Iterator[Chunk]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(raw))
    unpacker.feed(raw)
    left = unpacker.read_array_header()
    start = at = unpacker.tell()
    while left:
        events = 0
        while left and events < CHUNK_EVENTS and at - start <= EVENT_BYTES_MOST:
            unpacker.skip()
            before, at = at, unpacker.tell()
            if at - before > EVENT_BYTES_MOST:
                raise _too_big(before)
            events += 1
            left -= 1
        chunk = Chunk(start, at, events)
        decode(raw, chunk)  # its text may not be UTF-8
        yield chunk
        start = at
    if at != len(raw):
        raise _malformed("not msgpack: more follows after its end,", at)


def _json_chunks(raw: bytes) -> Iterator[Chunk]:
    """Chunks that begin after `[` or after the last event, so all but the first begin with a comma."""
    at, first, ended = 1, True, False
    while not ended:
        text, is_last = _text_at(raw, at)
        if nests_too_deep(text.encode()):
            raise _malformed(TOO_DEEP, at)
        try:
            place, events, ended = _json_events(text, first=first, is_last=is_last)
        except json.JSONDecodeError as error:
            raise _malformed(f"not JSON: {error.msg}", at + error.pos) from error
        if not (events or ended):
            raise _malformed("not JSON: it is cut off", at) if is_last else _too_big(at)
        size = len(text[:place].encode())
        if events:
            yield Chunk(at, at + size, events)
        at, first = at + size, False
    if raw[at:].strip(_BLANKS.encode()) != b"]":
        raise _malformed("not JSON: more follows after its end,", at)


def _text_at(raw: bytes, at: int) -> tuple[str, bool]:
    """The text from `at` on, up to the largest event, and whether it reaches the end of `raw`."""
    is_last = at + EVENT_BYTES_MOST >= len(raw)
    return codecs.utf_8_decode(raw[at : at + EVENT_BYTES_MOST], "strict", is_last)[0], is_last


def _json_events(text: str, *, first: bool, is_last: bool) -> tuple[int, int, bool]:
    """Find whole events at the beginning of `text`: (where they end, how many, whether `]` follows).

    Raises `json.JSONDecodeError` if more text cannot make it right.
    """
    place = events = 0
    while events < CHUNK_EVENTS:
        at = _after_blanks(text, place)
        if text[at : at + 1] == "]":
            return place, events, True
        if not (first and events == 0):
            if at < len(text) and text[at] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            if at == len(text):
                break
            at = _after_blanks(text, at + 1)
        try:
            event, end = _event_at(text, at)
        except json.JSONDecodeError as error:
            if error.pos + _CUT_CHARS < len(text) and not error.msg.startswith("Unterminated"):
                raise
            break
        if type(event) in _NUMBERS and end + _CUT_CHARS > len(text) and not is_last:
            break  # it may go on
        place, events = end, events + 1
    return place, events, False


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS and at < len(text):
        at += 1
    return at


def _event_at(text: str, at: int) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return BOUNDED_DECODER.raw_decode(text, at)
