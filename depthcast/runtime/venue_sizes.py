"""Lets a book have the sizes that its venue has: a change of them is a new listing.

A listing is asked for in two steps, so that no number is ever taken in other sizes than those it was written
in. First the hash `instruments` is changed, and an entry of the input log asks for the listing (`relist`) and
marks the book stale. Once the leader has recorded the listing, with whatever sizes, the feed goes on with
those, from a fresh snapshot. Each step may be repeated, so a feeder may end between any two.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from redis.asyncio import Redis

from depthcast.feed.feeding import dividing_both, following, relist_command, same_sizes, sizes_fit
from depthcast.feed.scale import Scale
from depthcast.feed.symbol_feed import LiveEntry
from depthcast.runtime.venue_fed import Fed
from depthcast.runtime.venue_watch import Watch
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime import redis

logger = logging.getLogger(__name__)

RELIST_AGAIN_S: Final = 5.0
"""A listing that has not begun after so long is asked for again."""


class SizeKeeper:
    """Compares sizes, and asks for listings if it may. `put`: writes entries of a symbol."""

    def __init__(
        self,
        client: Redis,
        keys: DeploymentKeys,
        watch: Watch,
        *,
        may_relist: bool,
        put: Callable[[Fed, Sequence[LiveEntry]], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._watch = watch
        self._may_relist = may_relist
        self._put = put

    async def follow(self, fed: Fed, now: float) -> bool:
        """Do what the venue's sizes demand; True if that has to be tried again."""
        feed = fed.feed
        if feed.relisting is not None or feed.absent:
            return False  # first that
        wanted, unfit, fed.unfit = self._wanted(fed), fed.unfit, ""
        if wanted is None:
            fed.followed, feed.remedy = fed.feeding.instrument, ""
            if unfit:
                logger.error(
                    "a number does not fit the sizes that the venue itself names",
                    extra={"symbol": feed.symbol, "detail": unfit},
                )
            return False
        if sizes_fit(fed.feeding.instrument, fed.registered) and not unfit and not _fits_all(fed, wanted):
            return False  # coarser, but the book has finer numbers yet: what is registered stays right
        if feed.listing is None or not self._may_relist:
            self._say(fed, wanted)
            return False
        return not await self._relist(fed, wanted, now)

    def _wanted(self, fed: Fed) -> Instrument | None:
        """Return the instrument with the sizes that the book has to get; None if it has them."""
        wanted = following(fed.registered, fed.followed, fed.feeding.instrument)
        if fed.former is not None and fed.unfit and same_sizes(wanted, fed.registered):
            wanted = dividing_both(wanted, fed.former)  # levels of before are still in the venue's book
        elif fed.feed.fits(Scale(wanted.tick_size), Scale(wanted.lot_size)) is False and not sizes_fit(
            fed.feeding.instrument, fed.registered
        ):
            wanted = dividing_both(wanted, fed.registered)
        return None if same_sizes(wanted, fed.registered) else wanted

    def _say(self, fed: Fed, wanted: Instrument) -> None:
        """Say what somebody has to run; once."""
        command = relist_command(wanted, self._keys.prefix)
        if fed.feed.remedy != command:
            fed.feed.remedy = command
            logger.error(
                "the venue has other sizes; begin a new listing with them by the command",
                extra={"symbol": fed.feed.symbol, "command": command},
            )

    async def _relist(self, fed: Fed, wanted: Instrument, now: float) -> bool:
        """Ask for a listing with the sizes of `wanted`; False if Redis is away."""
        feed = fed.feed
        assert feed.listing is not None
        named = self._watch.instruments.get(feed.symbol) or fed.registered
        named = named._replace(tick_size=wanted.tick_size, lot_size=wanted.lot_size)
        try:
            await redis.execute(self._client, "HSET", self._keys.instruments, feed.symbol, to_json(named))
        except RedisUnavailable as error:
            logger.warning("a new listing waits for Redis", extra={"problem": error.problem})
            return False
        logger.warning(
            "the venue has other sizes: a new listing begins",
            extra={"symbol": feed.symbol, "tick_size": wanted.tick_size, "lot_size": wanted.lot_size},
        )
        entry = feed.ask_relisting(named._replace(listing=feed.listing + 1), now)
        self._put(fed, [] if entry is None else [entry])
        fed.rewrite_at = now + RELIST_AGAIN_S
        self._watch.hurry = True
        return True


def _fits_all(fed: Fed, wanted: Instrument) -> bool:
    """Return whether all levels of the book, which has to be known, fit sizes."""
    return fed.feed.fits(Scale(wanted.tick_size), Scale(wanted.lot_size)) is True
