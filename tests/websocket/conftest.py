"""One gateway for all tests of this folder that change nothing."""

from collections.abc import Iterator

import pytest

from tests.integration.gateway_harness import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def gateway(redis_server: str) -> Iterator[RunningGateway]:
    """A gateway without books, and without limits of connections: a table has thousands."""
    with running_gateway(
        redis_server,
        "test-websocket",
        connections_per_address_max=1_000_000,
        connects_per_address_per_s=1_000_000,
    ) as running:
        yield running


@pytest.fixture
def url(gateway: RunningGateway) -> str:
    """Where it serves its WebSocket."""
    return gateway.ws_url
