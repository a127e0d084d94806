"""Fixtures for several integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from depthcast.shared.runtime.redis import connect
from tests.ingestor_runs import Run


@pytest.fixture
async def run(redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Run]:
    """A separate deployment on the real server."""
    client = connect(redis_url)
    yield Run(client, prefix, redis_url, tmp_path)
    await client.aclose()
