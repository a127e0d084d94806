"""`docs/feeds.md` says how good each source is, as the venues' profiles do."""

import re
from pathlib import Path

from depthcast.feed.symbol_feed import LocalDoubt
from depthcast.feed.venue import DoubtReason
from depthcast.feed.venues.registry import VENUES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")


def test_every_venue_has_the_row_of_its_profile() -> None:
    rows = [
        f"| `{name}` | {profile.title} | {quality.continuity} | {quality.checksum or '–'} | {quality.depth} |"
        for name, profile in sorted((name, venue.profile) for name, venue in VENUES.items())
        if (quality := profile.quality)
    ]
    shown = re.findall(r"^\| `[a-z0-9-]+` \|(?: .*? \|){4}$", DOCUMENT, re.MULTILINE)
    assert shown == rows, "the table has to be:\n" + "\n".join(rows)


def test_every_doubt_has_a_row() -> None:
    shown = re.findall(r"^\| `([a-z-]+)` \|(?: [^|]* \|){2}$", DOCUMENT, re.MULTILINE)
    assert sorted(shown) == sorted({*map(str, DoubtReason), *map(str, LocalDoubt)})
