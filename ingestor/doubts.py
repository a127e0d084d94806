"""Why books are in doubt: now, and as last published (`depthcast.shared.doubt`). Pure, and without a lock."""

from collections.abc import Collection

from depthcast.shared.types import Symbol


class Doubts:
    """The doubt about the books of a partition, by symbol.

    `now`: the reasons. `published`: those of the last drain. `changed`: symbols that may differ in both.
    """

    def __init__(self) -> None:
        self.now: dict[Symbol, str] = {}
        self.published: dict[Symbol, str] = {}
        self.changed: dict[Symbol, None] = {}

    def begin(self, symbol: Symbol, reason: str) -> None:
        """Put a book in doubt; the reason replaces any other."""
        self.now[symbol] = reason
        self._note(symbol)

    def end(self, symbol: Symbol) -> None:
        """End the doubt about a book, if there is one."""
        self.now.pop(symbol, None)
        self._note(symbol)

    def _note(self, symbol: Symbol) -> None:
        if self.now.get(symbol) != self.published.get(symbol):
            self.changed[symbol] = None

    def restore(self, symbol: Symbol, reason: str) -> None:
        """Take over the published doubt about a book."""
        self.now[symbol] = self.published[symbol] = reason

    def forget(self, symbol: Symbol) -> None:
        """Forget all that was said of a book, published or not: another one begins."""
        self.now.pop(symbol, None)
        self.published.pop(symbol, None)
        self.changed.pop(symbol, None)

    def drain(self, held_back: Collection[Symbol]) -> dict[Symbol, str | None]:
        """The changes since the last drain, None where a doubt ended, without those of `held_back`."""
        changed = self.changed
        self.changed = {symbol: None for symbol in changed if symbol in held_back}
        drained: dict[Symbol, str | None] = {}
        for symbol in changed:
            reason = self.now.get(symbol)
            if symbol in held_back or reason == self.published.get(symbol):
                continue
            drained[symbol] = reason
            if reason is None:
                del self.published[symbol]
            else:
                self.published[symbol] = reason
        return drained
