"""A short rolling restart; `make rolling` has more clients."""

import pytest

from tests.rolling.clients import Seen
from tests.rolling.deployment import HAPROXY
from tests.rolling.result import Result
from tests.rolling.run import roll


@pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")
@pytest.mark.slow
async def test_no_client_sees_more_than_one_reconnect() -> None:
    said: list[str] = []
    result = await roll(14, 30.0, 1.0, said.append)
    assert result.fine, "\n".join([*said, *result.lines()])
    assert {each.reconnects for each in result.seen} == {1}, "everybody had to go once"


@pytest.mark.parametrize(
    ("field", "value"), [("reconnects", 2), ("not_resumed", 1), ("gaps", 1), ("wrong", 1), ("failed", "x")]
)
def test_what_is_too_much(field: str, value: object) -> None:
    seen = Seen(0, 4, 5, 1, reconnects=1)
    assert Result([seen], 1).fine
    setattr(seen, field, value)
    result = Result([seen], 1)
    assert not result.fine
    assert "client 0:" in result.lines()[-1]
