"""The short form of `python -m tests.conformance.cli_replies`, and real processes."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from random import Random

import pytest

from tests.conformance.cli_replies import (
    CASES,
    ELSEWHERE,
    NO_REDIS,
    SECRET,
    Stage,
    leaves,
    takes_address,
)
from tests.conformance.error_replies import PREFIX, REPLIES
from tests.environment import ROOT, without_settings


def test_no_command_is_left_out() -> None:
    """Every command that the parser knows is swept here or elsewhere, or has no address of Redis."""
    found = dict(leaves())
    assert {case.name for case in CASES} | ELSEWHERE.keys() | NO_REDIS == found.keys()
    assert not {name for name in NO_REDIS if takes_address(found[name])}
    for path in ELSEWHERE.values():
        assert (ROOT / path).is_file(), path


@pytest.fixture(params=[False, True], ids=["one server", "cluster"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path, cluster=request.param) as found:
        yield found


SOME_LINES = ("status", "partition LEV --key", "rejects", "instruments add")


@pytest.mark.slow
@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.deep)])
def test_commands_of_each_line_are_refused_once(stage: Stage, *, few: bool) -> None:
    """With the next reply each time, so that each comes many times; `few`: one command of each line."""
    replies, wrong = cycle(REPLIES), list[str]()
    for case in stage.cases():
        if few and ("--json" in case.words or (stage.cluster and not case.line.startswith(SOME_LINES))):
            continue
        commands = stage.commands(case)
        for command, spared in Random(case.line).sample(commands, 1) if few else commands:
            reply = next(replies)
            found = stage.problems(case, command, reply, spared)[1]
            wrong += [f"{case.line}, {command} after {spared}, {reply}: {text}" for text in found]
    assert not wrong


PROCESSES = [
    (("status",), "NOPERM this user has no permissions", 1),
    (("doctor",), "LOADING Redis is loading the dataset in memory", 2),
]


@pytest.mark.slow
def test_the_exit_status_of_real_processes(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        stage.scene.command = "HGETALL meta"
        for words, reply, status in PROCESSES:
            stage.scene.reply = reply
            done = _run(stage, *words)
            assert done.returncode == status, done
            assert reply in done.stdout + done.stderr
            assert SECRET not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr


def _run(stage: Stage, *words: str) -> "subprocess.CompletedProcess[str]":
    login = {"DEPTHCAST_REDIS_USERNAME": "default", "DEPTHCAST_REDIS_PASSWORD": SECRET}
    where = {"DEPTHCAST_REDIS_URL": stage.scene.url, "DEPTHCAST_PREFIX": PREFIX}
    return subprocess.run(
        [sys.executable, "-m", "depthcast", *words],
        env=without_settings() | login | where,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
