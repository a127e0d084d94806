"""Every fake venue with its faults, for some seconds: no live book at a client is ever wrong."""

import pytest

from tests.venues.live_run import run_faults
from tests.venues.models import models
from tests.venues.pairs import venues


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(models()))
async def test_a_live_book_is_never_wrong(name: str) -> None:
    report = await run_faults(name, venues()[name], models()[name], seed=1, seconds=6, mean_s=0.4)
    assert report.wrong == []
    assert len(report.committed) > 5
