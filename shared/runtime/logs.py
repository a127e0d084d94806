"""Logs go to standard error: readable lines on a terminal, one JSON object per line anywhere else."""

import logging
import sys
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from depthcast.shared.runtime.log_limit import RateLimit

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _package(logger: str) -> str:
    """Return the package of a logger: `ingestor` for `depthcast.ingestor.runtime.leader`."""
    first, _, rest = logger.partition(".")
    return rest.partition(".")[0] if first == "depthcast" and rest else first


class TerminalFormatter(logging.Formatter):
    """Formats a record as `12:00:01 info  reader: text  key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        extras = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD)
        time = self.formatTime(record, "%H:%M:%S")
        text = f"{time} {record.levelname.lower():<7} {_package(record.name)}: {record.getMessage()}"
        if extras:
            text += f"  {extras}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(level: str) -> None:
    """Set up the root logger of a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RateLimit())
    if sys.stderr.isatty():
        handler.setFormatter(TerminalFormatter())
    else:
        handler.setFormatter(
            JsonFormatter(
                "{levelname}{name}{message}",
                style="{",
                timestamp="time",
                rename_fields={"levelname": "level", "name": "logger"},
            )
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
