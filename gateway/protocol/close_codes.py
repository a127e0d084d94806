"""Close codes of the gateway, each with the reason text that goes with it (`docs/protocol.md`, section 3).

A client may reconnect at once after 1012 (with resume) and later, with its own backoff, after 1001, 1013 and 4410;
after 1008, 1009 and 4408 it is the client that has to change.
"""

from enum import IntEnum
from typing import Final


class CloseCode(IntEnum):
    """Why the gateway ends a connection."""

    GOING_AWAY = 1001
    MISUSE = 1008
    TOO_BIG = 1009
    RESTARTING = 1012
    OVERLOADED = 1013
    SILENT = 4408
    TOO_SLOW = 4410


REASONS: Final = {
    CloseCode.GOING_AWAY: "going away",
    CloseCode.MISUSE: "protocol misuse",
    CloseCode.TOO_BIG: "message too big",
    CloseCode.RESTARTING: "restarting; reconnect and resume",
    CloseCode.OVERLOADED: "too many connections; try again later",
    CloseCode.SILENT: "no subscription in time",
    CloseCode.TOO_SLOW: "nothing was read for too long",
}
