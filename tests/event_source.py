"""Reads event streams by the letter of the HTML standard (9.2.6), without any code of the gateway."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple


class Event(NamedTuple):
    """A dispatched event. `last_id`: what a browser would send as `Last-Event-ID` after it."""

    type: str
    data: str
    last_id: str

    @property
    def message(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


class EventSource:
    """What a browser makes of the bytes of a stream. `retry_ms`: its wait before it connects again."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = self._id = last_id
        self.retry_ms: int | None = None
        self.comments = 0
        self._rest = b""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """Take some bytes; returns the events that are complete with them."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := self._line(line.decode())) is not None]

    def _line(self, line: str) -> Event | None:
        assert "\r" not in line
        assert "\0" not in line
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments += 1
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id":
            self._id = value
        elif name == "retry":
            assert value.isascii()
            assert value.isdigit()
            self.retry_ms = int(value)
        else:
            raise AssertionError(f"an unknown field: {line}")
        return None

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        data, self._data = self._data, []
        kind, self._type = self._type, ""
        return Event(kind or "message", "\n".join(data), self.last_id) if data else None


async def events_of(chunks: AsyncIterator[bytes], source: EventSource) -> AsyncIterator[Event]:
    """The events of a stream as they come, until it ends."""
    async for chunk in chunks:
        for event in source.feed(chunk):
            yield event
