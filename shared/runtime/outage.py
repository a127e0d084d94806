"""Says an outage of Redis once, however often an attempt fails."""

import logging

from depthcast.shared.errors import RedisUnavailable, WrongKey
from depthcast.shared.reply_remedies import NO_MASTER, remedy_of


class Outage:
    """Logs the problem of one job's attempts when it begins or changes, and that it is over.

    `message` says which job waits; `about` is added to each log entry. `problem`: the current one, else
    empty. `lasting`: the same, but empty for what may pass by itself.
    """

    def __init__(self, logger: logging.Logger, message: str, **about: object) -> None:
        self.logger = logger
        self.message = message
        self.about = about
        self.problem = self.lasting = ""

    def note(self, error: RedisUnavailable) -> None:
        """Record a failed attempt. What does not pass by itself is logged as an error."""
        if error.problem != self.problem:
            self.problem = error.problem
            self.lasting = error.problem if needs_somebody(error) else ""
            level = logging.ERROR if self.lasting else logging.WARNING
            about = {**self.about, "problem": error.problem, **remedy_in(error.problem)}
            self.logger.log(level, self.message, extra=about)

    def over(self) -> None:
        """Record a successful attempt."""
        if self.problem:
            self.problem = self.lasting = ""
            self.logger.info("Redis is available again", extra={**self.about, "for": self.message})


def remedy_in(problem: str) -> dict[str, str]:
    """What a log entry says besides of what sentinels replied: nothing about any other problem."""
    return {"remedy": remedy_of(problem)} if NO_MASTER in problem else {}


def needs_somebody(error: RedisUnavailable) -> bool:
    """Whether it stays until somebody mends it: a key of ours holds something else, or a command is wrong."""
    return isinstance(error, WrongKey) or getattr(error, "malformed", False)
