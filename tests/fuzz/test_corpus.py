"""Every input that was kept breaks nothing, costs little, and new ones are made where there is no atheris."""

import logging
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import __main__ as program
from tests.fuzz import generated
from tests.fuzz.corpus import FOLDER, kept
from tests.fuzz.minimise import minimised
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

EVERY = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
MEMORY_BYTES_MAX = 2 * 2**20
"""An input has at most a kilobyte; the largest books that one makes have a few hundred levels."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def inputs(target: Target) -> list[bytes]:
    return [b"", *target.seeds, *kept(target.name)]


def test_every_target_has_seeds_and_a_corpus() -> None:
    assert {path.stem for path in FOLDER.glob("*.hex")} == set(TARGETS)
    assert all(target.seeds and kept(target.name) for target in TARGETS.values())


@EVERY
def test_no_kept_input_breaks_a_promise(target: Target) -> None:
    for data in inputs(target):
        target.run(data)


@EVERY
def test_no_kept_input_costs_much_memory(target: Target) -> None:
    for data in sorted(inputs(target), key=len)[-15:]:
        target.run(data)  # what is made once is made now
        tracemalloc.start()
        try:
            target.run(data)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < MEMORY_BYTES_MAX, data.hex()


@EVERY
def test_inputs_made_without_guidance_break_nothing(target: Target) -> None:
    assert generated.run(target.name, 25) >= 25


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_long(data: bytes) -> None:
        assert len(data) < 3

    monkeypatch.setitem(TARGETS, "short", Target("short", refuse_long, "is short"))
    with pytest.raises(AssertionError):
        generated.run("short", 200)


def test_what_is_kept_is_short_and_reaches_everything() -> None:
    target = TARGETS["feed_format"]
    plain, longer, unknown = b"{", b"{ longer", b"?"
    assert minimised(target, [longer, plain, unknown]) == [unknown, plain]


def test_the_command_counts_what_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["fuzz", *words])
        program.main()
        return capsys.readouterr().out.strip()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the program adds to it
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # of the process that runs a target
    for _ in range(2):
        ran = said("--engine", "hypothesis", "--runs", "40", "--only", "position")
        assert ran == "position: 40 executions"
    table = said("--table")
    assert "| `position` | 80 | PositionError" in table
    assert "| all | 80 | |" in table
