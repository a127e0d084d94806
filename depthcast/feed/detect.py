"""The formats that a recording can have, and how a file's own is detected."""

from typing import Final

from depthcast.feed import databento, dbn, itch, lobster, parquet, plain, table, tardis
from depthcast.feed.entry import Format, Head
from depthcast.feed.venue_formats import VENUES
from depthcast.shared.errors import FeedError

FORMATS: Final = {
    each.name: each
    for each in (
        plain.FORMAT,
        table.FORMAT,
        *VENUES,
        tardis.CSV,
        tardis.JSON,
        databento.MBO,
        databento.MBP,
        dbn.FORMAT,
        lobster.FORMAT,
        itch.FORMAT,
        parquet.FORMAT,
    )
}
"""Every format, by the name that `--format` takes."""


def detect(path: str, head: Head) -> Format:
    """Return the one format that a file's head fits; raises `FeedError` if none or several do."""
    found = [each for each in FORMATS.values() if each.matches(head)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(each.name for each in found)
        raise FeedError(path, 0, f"fits several formats, {names}: name the right one with --format")
    raise FeedError(
        path,
        0,
        f"is of no known format; known are {', '.join(FORMATS)}: name one with --format, if it is one; "
        "`depthcast feed formats` shows what they look like",
    )
