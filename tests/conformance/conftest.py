"""The two stores."""

import time
from collections.abc import Iterator

import pytest

from depthcast.runtime.embedded import EmbeddedServer
from tests.conformance.targets import RealServer, SimulatedServer, Target


@pytest.fixture(scope="module")
def own_server() -> Iterator[str]:
    """A separate server, whose settings may be changed."""
    with EmbeddedServer() as server:
        yield server.url


@pytest.fixture
def real(own_server: str) -> Iterator[RealServer]:
    """A real server, empty."""
    server = RealServer(own_server)
    yield server
    server.close()


@pytest.fixture
def simulated() -> SimulatedServer:
    """The simulated store, empty, on the real clock."""
    return SimulatedServer(lambda: time.time_ns() // 1000)


@pytest.fixture(params=["simulated", "real"])
def store(request: pytest.FixtureRequest) -> Target:
    """Each of the two stores in turn."""
    target: Target = request.getfixturevalue(request.param)
    return target
