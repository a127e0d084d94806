"""Logs: one JSON object per line, or readable lines on a terminal."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from depthcast.shared.position import Position
from depthcast.shared.runtime import logs
from depthcast.shared.runtime.logs import TerminalFormatter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = kept
    root.setLevel(level)


def written(stream: io.StringIO, level: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure(level)
    logger = logging.getLogger("depthcast.ingestor.runtime.leader")
    logger.debug("unheard")
    logger.warning("waiting for %s", "Redis", extra={"partition": 3, "position": str(Position(5, 1))})
    try:
        int("in the way")
    except ValueError:
        logger.exception("broke\nhere")
    return stream.getvalue()


def test_one_json_object_a_line(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.loads(line) for line in written(io.StringIO(), "info", monkeypatch).splitlines()]
    assert len(lines) == 2
    time = lines[0].pop("time")
    assert time.startswith("20")
    assert lines[0] == {
        "level": "WARNING",
        "logger": "depthcast.ingestor.runtime.leader",
        "message": "waiting for Redis",
        "partition": 3,
        "position": "5-1",
    }
    assert lines[1]["message"] == "broke\nhere"
    assert "ValueError: invalid literal" in lines[1]["exc_info"]


def test_readable_lines_on_a_terminal(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written(Terminal(), "info", monkeypatch).splitlines()
    assert lines[0][2::3][:2] == "::"
    assert lines[0][9:] == "warning ingestor: waiting for Redis  partition=3 position=5-1"
    assert lines[-1].startswith("ValueError: invalid literal")


def test_the_level_is_kept(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "unheard" in written(io.StringIO(), "debug", monkeypatch)
    assert "waiting" not in written(io.StringIO(), "error", monkeypatch)


def test_a_line_without_extras_ends_with_its_message() -> None:
    record = logging.makeLogRecord({"name": "x.y", "levelname": "INFO", "msg": "plain"})
    assert TerminalFormatter().format(record).endswith("info    x: plain")
