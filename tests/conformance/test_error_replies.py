"""The short form of `python -m tests.conformance.error_replies`: each command gets all replies in turn."""

from pathlib import Path
from random import Random

import pytest

from depthcast.runtime.embedded import EmbeddedServer
from tests.conformance.error_replies import REPLIES, commands_of, deployment, refuse

EXPECTED = {
    "EVAL list ingestors", "EVALSHA append input", "EVALSHA publish", "EVALSHA renew lease", "EVALSHA store",
    "EVALSHA trim", "EXEC", "EXISTS", "GET", "HGET", "HGETALL", "HSETNX", "INFO", "MGET", "MULTI",
    "SET", "TIME", "XINFO STREAM", "XRANGE", "XREAD", "XREVRANGE",
}  # fmt: skip
"""Commands that the recording must have seen, lest the sweep grow empty."""


@pytest.mark.slow
async def test_no_process_ends_and_all_books_are_right_again(
    fresh_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with deployment(fresh_server.url, tmp_path) as it:
        commands = await commands_of(it)
        assert set(commands) >= EXPECTED
        for command in commands:
            replies = list(REPLIES)
            Random(command).shuffle(replies)
            await refuse(it, command, replies)
