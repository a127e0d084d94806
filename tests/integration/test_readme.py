"""What the README tells a newcomer to type works as it stands: its settings file, its input, its clients."""

import ast
import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from depthcast.runtime.deployment import Deployment, local_deployment
from depthcast.shared.runtime.redis import connect, execute

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(TOML,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
(XADD,) = re.findall(r"^redis-cli (XADD .*)$", README, re.MULTILINE)


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A server of its own with the default prefix, the README's instruments and its one input entry."""
    async with local_deployment(TOML) as deployment:
        redis = connect(deployment.redis_url)
        await execute(redis, *shlex.split(XADD))
        await redis.aclose()
        yield deployment


@pytest.mark.parametrize("snippet", SNIPPETS)
async def test_a_snippet_prints_the_book(deployment: Deployment, snippet: str) -> None:
    source = snippet.replace("http://127.0.0.1:8080", deployment.gateway_url).replace(
        "redis://127.0.0.1:6379/0", deployment.redis_url
    )
    assert source != snippet, "it names where to connect"
    printed: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    running = asyncio.create_task(_run(source, printed))
    try:
        async with asyncio.timeout(20):
            while True:
                words = [str(word) for word in await printed.get()]
                assert words[0] == "BTC-USD"
                if any("6500010" in word for word in words):
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _run(source: str, printed: "asyncio.Queue[tuple[Any, ...]]") -> None:
    """Run a snippet with `await` at its top level; what it prints goes into the queue."""
    names = {"print": lambda *words: printed.put_nowait(words)}
    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) == 2
