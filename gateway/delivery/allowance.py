"""An allowance: so many units a second, and as many at once as were saved up to the most (a token bucket)."""


class Allowance:
    """`per_s` units a second, `most` of them at once; full at the beginning. Times are in seconds."""

    __slots__ = ("_at", "_left", "most", "per_s")

    def __init__(self, per_s: float, most: float, now: float) -> None:
        self.per_s = per_s
        self.most = most
        self._left = most
        self._at = now

    def take(self, units: float, now: float) -> bool:
        """Use up `units`; returns False, with nothing used up, if less than that is left."""
        # A clock may step back; nothing is added for that time.
        self._left = min(self.most, self._left + max(0.0, now - self._at) * self.per_s)
        self._at = now
        if units > self._left:
            return False
        self._left -= units
        return True

    def use(self, units: float) -> None:
        """Use up `units` that cost more than was known before; what is left may be below 0."""
        self._left -= units

    def wait_s(self, units: float) -> float:
        """Seconds until `units` can be taken, counted from the last call of `take`."""
        return max(0.0, (units - self._left) / self.per_s)
