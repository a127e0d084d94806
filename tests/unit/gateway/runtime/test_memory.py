"""When memory is given back."""

import pytest

from depthcast.gateway.runtime.memory import PEAK_BYTES_LEAST, GivingBack, trim


@pytest.mark.parametrize(
    ("seen", "times"),
    [
        ([0, PEAK_BYTES_LEAST - 1, 0], 0),
        ([PEAK_BYTES_LEAST, PEAK_BYTES_LEAST // 2], 0),
        ([PEAK_BYTES_LEAST, PEAK_BYTES_LEAST // 4], 1),
        ([PEAK_BYTES_LEAST, 0, 0, 0], 1),
        ([PEAK_BYTES_LEAST, 0, PEAK_BYTES_LEAST, 0], 2),
    ],
)
def test_once_after_each_peak(seen: list[int], times: int) -> None:
    calls: list[None] = []
    memory = GivingBack(lambda: calls.append(None))
    for count in seen:
        memory.observe(count)
    assert len(calls) == times


def test_giving_back_works_on_this_system() -> None:
    trim()
