"""Requests to a venue wait for their turn, and one that is given up takes nothing away from the others."""

import asyncio
from time import monotonic

import aiohttp
import pytest

from depthcast.feed.venue import Request
from depthcast.runtime.venue_rest import Allowance, VenueRest


def test_weight_is_refilled_and_given_back() -> None:
    allowance = Allowance(weight_per_min=600, now=0.0)
    assert allowance.take(int(allowance.most), 0.0) == 0.0
    wait_s = allowance.take(70, 0.0)
    assert wait_s == pytest.approx(70 / allowance.per_s)
    allowance.give(70)
    assert allowance.take(70, 0.0) == pytest.approx(wait_s)


async def test_a_wait_that_is_given_up_takes_no_weight() -> None:
    async with aiohttp.ClientSession() as session:
        rest = VenueRest(session, "http://127.0.0.1:1", weight_per_min=600)
        await rest.wait_for_room(Request("/", int(600 * 0.25)))
        for _ in range(50):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await rest.wait_for_room(Request("/", 500))
        began = monotonic()
        await asyncio.wait_for(rest.wait_for_room(Request("/", 1)), 5)
        assert monotonic() - began < 5
