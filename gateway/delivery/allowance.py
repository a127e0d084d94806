"""An allowance: so many units a second, and as many at once as were saved up to the most (a token bucket)."""


class Allowance:
    """`per_s` units a second, `most` of them at once; full at the beginning. Times are in seconds.

    `left`: what may be used up now. It may be below 0, where the cost was not known before.
    """

    __slots__ = ("_at", "left", "most", "per_s")

    def __init__(self, per_s: float, most: float, now: float) -> None:
        self.per_s = per_s
        self.most = most
        self.left = most
        self._at = now

    def take(self, units: float, now: float) -> bool:
        """Use up `units`; returns False, with nothing used up, if less than that is left."""
        self.refill(now)
        if units > self.left:
            return False
        self.left -= units
        return True

    def use(self, units: float) -> None:
        """Use up `units` whose cost was not known before; what is left may be below 0."""
        self.left -= units

    def refill(self, now: float) -> None:
        """Add what came since the last call."""
        # A clock may step back; nothing is added for that time.
        self.left = min(self.most, self.left + max(0.0, now - self._at) * self.per_s)
        self._at = now

    def wait_s(self, units: float) -> float:
        """Seconds until `units` can be taken, counted from the last call of `take`."""
        return max(0.0, (units - self.left) / self.per_s)
