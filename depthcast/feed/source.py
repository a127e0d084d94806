"""Entries of the hash `sources` (`docs/protocol.md`, section 2): who feeds a symbol, how well, how it is."""

from collections.abc import Mapping
from typing import Any

from depthcast.feed.feeding import Feeding
from depthcast.feed.symbol_feed import FeedState, SymbolFeed
from depthcast.feed.venue import Profile, Sizes
from depthcast.shared.feed_source import GONE_US
from depthcast.shared.instruments import Instrument
from depthcast.shared.json_object import json_object


def source_of(
    profile: Profile, feeding: Feeding, feed: SymbolFeed, followed: Instrument, *, feeder: str, since: int
) -> dict[str, Any]:
    """Return a symbol's entry without `at`.

    - `followed`: the venue's sizes when the registered ones were last compared with them.
    - `since`: µs since 1970.
    """
    return {
        "venue": profile.name,
        "venue_symbol": feeding.venue_symbol,
        "feeder": feeder,
        "quality": profile.quality._asdict(),
        "state": str(feed.state),
        "reason": feed.reason,
        "since": since,
        "doubts": dict(feed.doubts),
        "event_ts": feed.ts,
        "venue_sizes": {"tick_size": followed.tick_size, "lot_size": followed.lot_size},
        "remedy": feed.remedy,
    }


def venue_sizes(entry: Mapping[str, Any], feeding: Feeding, venue: str) -> Instrument | None:
    """Return what an entry says about the sizes of a symbol at its venue; None if it says nothing."""
    sizes = entry.get("venue_sizes")
    same = (entry.get("venue"), entry.get("venue_symbol")) == (venue, feeding.venue_symbol)
    if not same or not isinstance(sizes, Mapping):
        return None
    try:
        return feeding.with_sizes(Sizes(sizes["tick_size"], sizes["lot_size"])).instrument
    except (KeyError, TypeError, ValueError):
        return None


def read_source(raw: bytes | None) -> dict[str, Any]:
    """Return a value of the hash; empty if there is none, or none that a feeder wrote."""
    return json_object(raw or b"") or {}


def is_running(entry: Mapping[str, Any], now_us: int) -> bool:
    """Return whether the feeder of an entry is running, by the server's clock."""
    at, state = entry.get("at"), entry.get("state")
    fresh = isinstance(at, int) and now_us - at < GONE_US
    return fresh and state not in (FeedState.ENDED, FeedState.REFUSED)
