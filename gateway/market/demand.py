"""Which symbols a gateway follows: those that somebody here asks for, or has asked for a short time ago.

A symbol is *asked for* by a subscription, an HTTP answer or an event stream. It is taken up, which takes a
round trip at best, and is *followed* from then on. It is let go once it was without a subscription, a channel
and a question for `linger_s`. What is not followed has no book here, and a partition without followed symbols
is not read.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

UNFOLLOWED_AT_ONCE_MAX: Final = 400
"""Symbols that are let go without a pause."""


class Waiter(Protocol):
    """Somebody who waits for symbols to be taken up."""

    def wake(self) -> None:
        """Look again whether they were."""
        ...


class Demand:
    """What is asked for. `everything`: all symbols are followed, so there is nothing to do here.

    - `asked`: symbols that are not followed yet, by partition; whether their past is wanted, too.
    - `on_asked`: called with a partition that has symbols to take up.
    - `held`: number of subscriptions of each symbol, also those to a listing that has ended.

    `_idle`: symbols that may have neither a subscription nor a channel, the longest-unasked first, and since
    when (None: since after the last look).
    """

    __slots__ = ("_idle", "_linger_s", "_waiting", "asked", "everything", "held", "on_asked")

    def __init__(self, linger_s: float, *, everything: bool) -> None:
        self.everything = everything
        self.asked: list[dict[str, bool]] = []
        self.on_asked: Callable[[int], None] = _nobody
        self.held: dict[str, int] = {}
        self._linger_s = linger_s
        self._idle: dict[str, float | None] = {}
        self._waiting: dict[Waiter, None] = {}

    # --- symbols --------------------------------------------------------------------------------------------

    def ask(self, symbol: str, partition: int, *, followed: bool, past: bool) -> None:
        """Note that somebody asks for a listed symbol."""
        self.rest(symbol)
        if followed:
            return
        asked = self.asked[partition]
        asked[symbol] = past or asked.get(symbol, False)
        self.on_asked(partition)

    def hold(self, symbol: str) -> None:
        """Count one more subscription."""
        if self.everything:
            return
        self.held[symbol] = self.held.get(symbol, 0) + 1

    def release(self, symbol: str) -> None:
        """Count one subscription less."""
        if self.everything:
            return
        left = self.held[symbol] - 1
        if left:
            self.held[symbol] = left
        else:
            del self.held[symbol]
            self.rest(symbol)

    def rest(self, symbol: str) -> None:
        """Note that a symbol may have neither a subscription nor a channel from now on."""
        if not self.everything:
            self._idle.pop(symbol, None)
            self._idle[symbol] = None

    def forget(self, symbol: str, partition: int) -> None:
        """Note that a symbol is not listed, or not followed, any more."""
        self._idle.pop(symbol, None)
        self.asked[partition].pop(symbol, None)

    def expired(self, now: float, needed: Callable[[str], bool]) -> list[str]:
        """The symbols to let go: a few at a time. `needed`: whether one has a subscription or a channel."""
        idle = self._idle
        for symbol in reversed(idle):
            if idle[symbol] is not None:
                break
            idle[symbol] = now
        expired = []
        for symbol, since in islice(idle.items(), UNFOLLOWED_AT_ONCE_MAX):
            if since is None or now - since < self._linger_s:
                break
            expired.append(symbol)
        for symbol in expired:
            del self._idle[symbol]
        return [symbol for symbol in expired if not needed(symbol)]

    # --- who waits ------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter) -> None:
        """Call `wake` once, when symbols were taken up or some time has passed."""
        self._waiting[waiter] = None

    def wake(self) -> None:
        """Let everybody who waits look again."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.wake()


def _nobody(_partition: int) -> None:
    return None
