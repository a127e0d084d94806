"""The short form of `python -m tests.conformance.relay_replies`: each command gets all replies in turn."""

from pathlib import Path
from random import Random

import pytest

from depthcast.runtime.relay_sides import SOURCE, TARGET
from tests.conformance.error_replies import REPLIES
from tests.conformance.relay_replies import EXPECTED, commands_of, copying, refuse

FEW = (
    (SOURCE, "CLUSTER"), (SOURCE, "XREAD deltas"), (TARGET, "CLUSTER"),
    (TARGET, "EVALSHA append to copy leader"), (TARGET, "EVALSHA store in copy leader"),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "few"),
    [
        (False, True),
        (True, True),
        pytest.param(False, False, marks=pytest.mark.deep),
        pytest.param(True, False, marks=pytest.mark.deep),
    ],
)
async def test_no_relay_ends_and_the_copy_is_the_source_again(
    tmp_path: Path, *, cluster: bool, few: bool
) -> None:
    async with copying(tmp_path, cluster=cluster) as it:
        commands = await commands_of(it, EXPECTED)
        assert set(commands) >= ({(SOURCE, "CLUSTER"), (TARGET, "CLUSTER")} if cluster else set())
        for side, command in sorted({*FEW} & {*commands}) if few else commands:
            replies = list(REPLIES)
            Random(f"{side} {command}").shuffle(replies)
            await refuse(it, side, command, replies)
