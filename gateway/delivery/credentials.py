"""What the token of one session allows, and when that ends. Signatures are checked elsewhere (`Verify`)."""

from collections.abc import Callable
from enum import Enum
from typing import Final

from depthcast.gateway.protocol.grant import EVERYTHING, Grant
from depthcast.gateway.protocol.requests import quoted

EXPIRY_LEEWAY_US: Final = 5_000_000
"""A connection ends this long after its token expires, because clocks may differ by that."""

Verify = Callable[[str], Grant]
"""Returns what a token allows; raises `depthcast.gateway.protocol.grant.TokenRefused`."""


class TokenEvent(Enum):
    """What there is to say of a token; all but `EXPIRING` end the session. Its value is the error's text."""

    EXPIRING = ""
    EXPIRED = "the token has expired"
    REVOKED = "the token was revoked"
    MISSING = "no token was presented in time"


class Credentials:
    """The token of one session.

    - `grant`: what it allows; None until a token was presented.
    - `verify`: checks another token; None where no tokens are taken.
    - `revoked`: it was revoked.
    """

    __slots__ = ("_due_us", "_missing_at", "_warned", "_warning_us", "grant", "revoked", "verify")

    def __init__(
        self,
        grant: Grant | None,
        verify: Verify | None = None,
        *,
        missing_at: float = float("inf"),
        warning_s: float = 0.0,
    ) -> None:
        """`missing_at`: when a session without a token ends (monotonic s). `warning_s`: before it expires."""
        self.grant: Grant | None = None
        self.verify = verify
        self.revoked = self._warned = False
        self._missing_at = missing_at
        self._warning_us = int(warning_s * 1e6)
        self._due_us: int | None = None
        if grant is not None:
            self.take(grant)

    def take(self, grant: Grant) -> None:
        """Allow what a token allows, until it expires."""
        self.grant = grant
        self.revoked = self._warned = False
        self._due_us = None if grant.expires_us is None else grant.expires_us - self._warning_us

    def may_read(self, symbol: str) -> bool:
        """Whether a symbol may be read at some depth."""
        return self.grant is not None and self.grant.rights.may_read(symbol)

    @property
    def interval_min_ms(self) -> int:
        """Least interval of a subscription."""
        return 0 if self.grant is None else self.grant.rights.interval_min_ms

    def limit(self, depth: int, interval_ms: int, group_ticks: int) -> str | None:
        """Why no symbol may be subscribed to like this; None if those that may be read, may."""
        if self.grant is None:
            return "no token was presented"
        if interval_ms < self.interval_min_ms:
            return f"the token allows an interval of {self.interval_min_ms} ms or more"
        return self.grant.rights.limit(depth, group_ticks)

    def refusal(self, symbol: str, depth: int, interval_ms: int, group_ticks: int) -> str | None:
        """Why a subscription is not allowed; None if it is."""
        if not self.may_read(symbol):
            return f"the token does not allow {quoted(symbol)}"
        return self.limit(depth, interval_ms, group_ticks)

    def event(self, now: float, clock_us: Callable[[], int]) -> TokenEvent | None:
        """What there is to say at `now` (monotonic s), None for nothing; `EXPIRING` once for each token."""
        if self.grant is None:
            return TokenEvent.MISSING if now >= self._missing_at else None
        if self.revoked:
            return TokenEvent.REVOKED
        if self._due_us is None or clock_us() < self._due_us:
            return None
        if self._warned:
            return TokenEvent.EXPIRED
        self._warned = True
        assert self.grant.expires_us is not None
        self._due_us = self.grant.expires_us + EXPIRY_LEEWAY_US
        return TokenEvent.EXPIRING


ANYONE: Final = Credentials(EVERYTHING)
"""Of every session where no tokens are taken."""
NOBODY: Final = Credentials(None)
"""Of a session that has ended."""
