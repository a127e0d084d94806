"""What the user of a client wants, by a naive model."""

from typing import NamedTuple


class Wanted(NamedTuple):
    """Options of a subscription; `group`: ticks in a level; `orders`: with the number of orders."""

    depth: int
    group: int = 1
    orders: bool = False
    interval_ms: int = 0

    @property
    def levels(self) -> "Wanted":
        """The same but for what does not change the view."""
        return self._replace(interval_ms=0)


class Preference:
    """What the user wants now: options by name, and those of everything else.

    `unsure`: symbols of which the gateway refused or ended something since they were asked for last. A client
    may then go on with the subscription before, or end it.
    """

    def __init__(self) -> None:
        self.named: dict[str, Wanted] = {}
        self.all: Wanted | None = None
        self.without: set[str] = set()
        self.unsure: set[str] = set()

    def subscribe(self, symbols: list[str], wanted: Wanted) -> None:
        if symbols == ["*"]:
            self.named, self.all, self.without, self.unsure = {}, wanted, set(), set()
        else:
            self.named.update(dict.fromkeys(symbols, wanted))
            self.without.difference_update(symbols)
            self.unsure.difference_update(symbols)

    def unsubscribe(self, symbol: str) -> None:
        if symbol == "*":
            self.named, self.all, self.without, self.unsure = {}, None, set(), set()
        else:
            self.named.pop(symbol, None)
            self.without.add(symbol)
            self.unsure.discard(symbol)

    def shown(self, symbol: str, *, was_gone: bool) -> set[Wanted | None]:
        """How the symbol may be shown; None: not at all. What was removed may have come back by `*` alone."""
        everything = None if symbol in self.without else self.all
        if symbol not in self.named:
            return {everything}
        return {self.named[symbol], everything} if was_gone else {self.named[symbol]}
