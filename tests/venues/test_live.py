"""Every fake venue with its faults, for some seconds: no live book at a client is ever wrong."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.venues.live_run import Place, open_place, run_faults
from tests.venues.models import models
from tests.venues.pairs import venues

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    async with open_place() as opened:
        yield opened


ALIKE = re.compile(r"binance-usdm|bybit-linear|bitget-.*-futures|kraken-1000|coinbase-exchange")
"""Venues whose code others run too; `make venues` and the deep tests have all."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.deep] * bool(ALIKE.match(name))) for name in sorted(models())],
)
async def test_a_live_book_is_never_wrong(place: Place, name: str) -> None:
    report = await run_faults(
        place, name, venues()[name], models()[name], seed=1, seconds=2, mean_s=0.15, short=True
    )
    assert report.wrong == []
    assert len(report.committed) > 5
