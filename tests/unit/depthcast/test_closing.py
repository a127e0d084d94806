"""Close codes and the waiting between attempts."""

import pytest

from depthcast.client.close_codes import Backoff, ConnectionLost


@pytest.mark.parametrize(
    ("code", "reconnect"),
    [
        (1000, False),
        (1001, True),
        (1006, True),
        (1008, False),
        (1009, False),
        (1012, True),
        (1013, True),
        (4401, False),
        (4408, False),
        (4410, True),
        (4429, True),
        (4999, True),
    ],
)
def test_close_codes_decide_whether_to_reconnect(code: int, reconnect: bool) -> None:
    assert ConnectionLost(code).closing.reconnect is reconnect


def test_backoff_doubles_with_jitter_and_is_bounded() -> None:
    draws = iter([1.0, 0.5, 1.0, 1.0, 0.0])
    backoff = Backoff(0.2, 1.0, lambda: next(draws))
    assert [backoff.next_s() for _ in range(4)] == [0.2, 0.2, 0.8, 1.0]
    backoff.reset()
    assert backoff.bound_s == 0.2
