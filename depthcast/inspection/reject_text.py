"""Shows rejects to people."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from depthcast.shared.codec import unpack
from depthcast.shared.errors import CodecError
from depthcast.shared.reject_record import RejectRecord

EVENT_CHARS_MAX: Final = 200
"""A line shows up to this many characters of an event."""


def reject_line(record: RejectRecord) -> str:
    """Return one line: time, symbol, reason, events, source and index, event, detail."""
    place = f"[{record.place}]" if record.place >= 0 else ""
    events = f" × {record.events}" if record.events != 1 else ""
    detail = f"  ({record.detail})" if record.detail else ""
    symbol = "".join(letter if letter.isprintable() else "\ufffd" for letter in record.symbol)
    time = _time(record.at.epoch)
    return (
        f"{time} {symbol} {record.reason}{events}  {record.source}{place}  {event_text(record.event)}{detail}"
    )


def reject_json(record: RejectRecord) -> dict[str, Any]:
    """Return the record as an object for JSON, with the names of the contract."""
    return {
        "at": str(record.at),
        "symbol": record.symbol,
        "reason": record.reason,
        "source": str(record.source),
        "index": record.place,
        "count": record.events,
        "event": event_text(record.event, chars_max=None),
        "detail": record.detail,
    }


def event_text(event: bytes, chars_max: int | None = EVENT_CHARS_MAX) -> str:
    """Return a rejected event as JSON text; one that cannot be decoded, as it is or in hex."""
    if event[:1] in {b"[", b"{"}:
        text = event.decode(errors="replace")
    else:
        try:
            text = json.dumps(unpack(event, "event"), ensure_ascii=False, default=repr)
        except (CodecError, ValueError, TypeError, RecursionError):
            text = f"0x{event.hex()}" if event else "–"
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return text if chars_max is None or len(text) <= chars_max else f"{text[:chars_max]}…"


def _time(ms: int) -> str:
    try:
        return (
            datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
