"""Every WebSocket close code: its reason text, what it means to a client, and whether to connect again.

The codes are those of RFC 6455, section 7.4.1, of the IANA registry beyond it, and of `docs/protocol.md`,
section 3.3.
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class CloseCode(IntEnum):
    """Why a connection ended."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    WRONG_FRAME_TYPE = 1003
    NO_CODE = 1005
    LOST = 1006
    WRONG_DATA = 1007
    MISUSE = 1008
    TOO_BIG = 1009
    EXTENSION_MISSING = 1010
    INTERNAL_ERROR = 1011
    RESTARTING = 1012
    OVERLOADED = 1013
    TLS_FAILED = 1015
    UNAUTHORIZED = 4401
    SILENT = 4408
    TOO_SLOW = 4410
    RATE_LIMIT = 4429


NEVER_SENT: Final = frozenset({1004, CloseCode.NO_CODE, CloseCode.LOST, CloseCode.TLS_FAILED})
"""Reserved by RFC 6455: each end may report them locally, but no close frame contains them."""


class Reconnect(Enum):
    """What a client does after the connection has ended. It resumes its books whenever it connects again."""

    AT_ONCE = "at once"
    """Connect after a random fraction of the first wait, so that clients do not all come at once."""
    WITH_BACKOFF = "with backoff"
    """Connect after the first wait at the earliest."""
    NEVER = "never"
    """Connecting again would end the same way."""


class Closing(NamedTuple):
    """What a close code means. `reason`: text of the gateway's close frame, empty if it never sends it."""

    meaning: str
    reconnect: Reconnect
    reason: str = ""


CLOSINGS: Final[Mapping[int, Closing]] = MappingProxyType(
    {
        CloseCode.NORMAL: Closing("the gateway ended the session", Reconnect.NEVER),
        CloseCode.GOING_AWAY: Closing("the gateway is going away", Reconnect.WITH_BACKOFF, "going away"),
        CloseCode.PROTOCOL_ERROR: Closing("WebSocket protocol error", Reconnect.NEVER),
        CloseCode.WRONG_FRAME_TYPE: Closing("frame type not accepted", Reconnect.NEVER),
        CloseCode.NO_CODE: Closing("the gateway gave no reason", Reconnect.AT_ONCE),
        CloseCode.LOST: Closing("the connection was lost", Reconnect.AT_ONCE),
        CloseCode.WRONG_DATA: Closing("text that is not UTF-8", Reconnect.NEVER),
        CloseCode.MISUSE: Closing("protocol misuse", Reconnect.NEVER, "protocol misuse"),
        CloseCode.TOO_BIG: Closing("message too big", Reconnect.NEVER, "message too big"),
        CloseCode.EXTENSION_MISSING: Closing("a WebSocket extension is missing", Reconnect.NEVER),
        CloseCode.INTERNAL_ERROR: Closing("internal error of the gateway", Reconnect.WITH_BACKOFF),
        CloseCode.RESTARTING: Closing(
            "the gateway is restarting", Reconnect.AT_ONCE, "restarting; reconnect and resume"
        ),
        CloseCode.OVERLOADED: Closing(
            "the gateway is overloaded", Reconnect.WITH_BACKOFF, "too many connections; try again later"
        ),
        CloseCode.TLS_FAILED: Closing("the TLS handshake failed", Reconnect.WITH_BACKOFF),
        CloseCode.UNAUTHORIZED: Closing("unauthorized", Reconnect.NEVER, "unauthorized; get another token"),
        CloseCode.SILENT: Closing("no subscription in time", Reconnect.NEVER, "no subscription in time"),
        CloseCode.TOO_SLOW: Closing("too slow", Reconnect.WITH_BACKOFF, "nothing was read for too long"),
        CloseCode.RATE_LIMIT: Closing("rate limit", Reconnect.WITH_BACKOFF, "rate limit; slow down"),
    }
)

UNKNOWN: Final = Closing("unknown close code", Reconnect.WITH_BACKOFF)


def closing(code: int) -> Closing:
    """What `code` means; `UNKNOWN` if it is not listed here."""
    return CLOSINGS.get(code, UNKNOWN)
