"""A bound on the bytes that all connections of a process hold together."""

from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class Budget(Generic[Holder]):
    """Counts what each holder holds. `held`: only holders that hold something."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held: dict[Holder, int] = {}
        self.total = 0

    def hold(self, holder: Holder, count: int) -> bool:
        """`holder` holds `count` bytes from now on; returns whether that is too much for all together."""
        self.total += count - self.held.pop(holder, 0)
        if count:
            self.held[holder] = count
        return self.total > self.bytes_max

    def largest(self) -> list[Holder]:
        """The largest holders, without which an eighth of the bytes would be free."""
        free, found = self.bytes_max - self.total, []
        for holder in sorted(self.held, key=self.held.__getitem__, reverse=True):
            if free * 8 >= self.bytes_max:
                break
            found.append(holder)
            free += self.held[holder]
        return found
