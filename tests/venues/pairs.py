"""The venues that models stand for: those of the registry, one as it will be, and the toys."""

from collections.abc import Mapping

from depthcast.feed.venue import Venue
from depthcast.feed.venues.registry import VENUES
from tests.venues.toy_adapter import Toy


def venues() -> Mapping[str, Venue]:
    """Return every venue by name."""
    return {
        **VENUES,
        "okx-without-snapshots": VENUES["okx"],
        "toy": Toy(),
        "toy-rest": Toy(by_rest=True),
    }
