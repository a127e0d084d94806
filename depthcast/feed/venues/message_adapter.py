"""What adapters have in common whose venue sends objects of several kinds, among them the snapshots."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

from depthcast.feed.venue import Alive, DoubtReason, Output, Skipped
from depthcast.feed.venues.fields import Object, parsed, shown
from depthcast.feed.venues.kept_books import KeptBook, SubscribingAdapter

Read = Callable[[KeptBook, Object], Iterable[Output]]
"""Takes a message about a book; raises `ValueError` if it is not as documented."""


class MessageAdapter(SubscribingAdapter, ABC):
    """Adapter of one connection.

    `ALIVE`, `SKIPPED`: kinds of messages that say that the venue is alive, and that concern no book.
    """

    ALIVE: ClassVar[frozenset[str]] = frozenset()
    SKIPPED: ClassVar[frozenset[str]] = frozenset()

    def ping(self, now: int) -> str | bytes | None:  # noqa: ARG002 - it names no time
        return None

    def take(self, raw: str | bytes, now: int) -> Iterable[Output]:  # noqa: ARG002 - no rule needs a clock
        try:
            return self.read(parsed(raw))
        except ValueError as error:
            return self.books.malformed(None, str(error))

    @abstractmethod
    def read(self, message: Object) -> Iterable[Output]:
        """Take a JSON object. Raises `ValueError` if it is not as documented and may concern any book."""

    def other_message(self, kind: str) -> list[Output]:
        """Take a message by its kind alone. Raises `ValueError` for an unknown one: it may concern a book."""
        if kind in self.ALIVE:
            return [Alive()]
        if kind in self.SKIPPED:
            return [Skipped(kind)]
        raise ValueError(f"an unknown kind of message, {shown(kind)}")

    def about(self, symbol: str, read: Read, message: Object) -> Iterable[Output]:
        """Take a message about one book. Raises `ValueError` for a symbol that was never subscribed."""
        book = self.books.named(symbol)
        if book is None:
            return [Skipped("no longer subscribed")]
        try:
            return read(book, message)
        except ValueError as error:
            return book.doubt(DoubtReason.MALFORMED, str(error))
