"""Fixtures for several integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from depthcast.shared.runtime.redis import connect
from tests.ingestor_runs import Run
from tests.integration import gateway_harness
from tests.redis_client import patient

if TYPE_CHECKING:
    from tests.certificates import Authority


@pytest.fixture
async def run(redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Run]:
    """A separate deployment on the real server."""
    client = patient(redis_url)
    yield Run(client, prefix, redis_url, tmp_path)
    await client.aclose()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the program's own, with their time limits."""
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> "Authority":
    """Makes certificates that only tests trust."""
    from tests.certificates import Authority

    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypted(authority: "Authority", monkeypatch: pytest.MonkeyPatch) -> "Authority":
    """Gateways of this test speak TLS."""
    monkeypatch.setattr(gateway_harness, "AUTHORITY", authority)
    return authority
