"""The short form of `python -m tests.conformance.error_replies`: each command gets all replies in turn."""

from pathlib import Path
from random import Random

import pytest

from depthcast.runtime.embedded import EmbeddedServer
from tests.conformance.error_replies import REPLIES, clustered_deployment, commands_of, deployment, refuse

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


OF_A_CLUSTER = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN")
FEW = ("EVALSHA publish", "EVALSHA append input", "HGETALL", "WATCH", "XINFO STREAM", "XREAD", "XREVRANGE")


@pytest.mark.slow
@pytest.mark.parametrize("only", [FEW, pytest.param(None, marks=pytest.mark.deep)])
async def test_of_a_cluster(tmp_path: Path, only: tuple[str, ...] | None) -> None:
    """Redirections too, of which some lead to a server that is away, and none anywhere else."""
    replies = [reply for reply in REPLIES if reply.startswith(OF_A_CLUSTER)]
    assert len(replies) == len(OF_A_CLUSTER)
    async with clustered_deployment(tmp_path) as it:
        commands = await commands_of(it)
        assert set(commands) >= {*EXPECTED, "CLUSTER"}
        for command in commands if only is None else only:
            await refuse(it, command, replies, 0.5)
