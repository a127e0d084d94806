"""What all that read or write the hash `sources` agree on (`docs/protocol.md`, section 2)."""

from typing import Final

GONE: Final = "gone"
"""State that an ingestor writes into the entry of a live feed that has not refreshed it for too long."""

GONE_US: Final = 10_000_000
"""An entry that was refreshed within this time, by the server's clock, is of a feed that runs."""
