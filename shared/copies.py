"""What `meta` says if the deployment is a copy that a relay keeps (`docs/protocol.md`, section 2.5).

The entries of a copy are those of its source, byte for byte. So their times are by the source's clock, and
`meta` says how far the clock of the copy's server is from it.
"""

import re
from collections.abc import Mapping
from typing import Final

COPY_OF: Final = b"copy_of"
"""Field of `meta`: the source's name; only a copy has it."""

OFFSET: Final = b"copy_offset_us"
"""Field of `meta`: clock of the copy's server less clock of the source, µs."""

_INTEGER: Final = re.compile(rb"-?\d{1,16}")


def copy_of(meta: Mapping[bytes, bytes]) -> str | None:
    """Return the name of the source, None if the deployment is no copy."""
    found = meta.get(COPY_OF)
    return None if found is None else found.decode("utf-8", "replace")


def clock_offset_us(meta: Mapping[bytes, bytes]) -> int:
    """Return what the clock of the server is ahead of that of the entries; 0 unless it is a copy."""
    found = meta.get(OFFSET, b"0")
    return int(found) if COPY_OF in meta and _INTEGER.fullmatch(found) else 0
