"""What held changes back, so that several of them reach a client as one delta."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Because = Literal["buffer", "credit", "interval"]

BUFFER: Final = "buffer"
CREDIT: Final = "credit"
INTERVAL: Final = "interval"

Conflated = Mapping[Because | None, int]
"""How many broadcasts reached a client merged into a later one, by what held those of each view back."""

NOTHING_CONFLATED: Final[Conflated] = MappingProxyType({})


class HeldBack(NamedTuple):
    """When a client could not be sent what it was owed, as broadcast numbers; 0: never.

    - `full_at`: the last time that its buffer was full.
    - `no_credit_at`: the last time that it had no credit.
    - `paced`: whether its subscription has an interval.
    """

    full_at: int = 0
    no_credit_at: int = 0
    paced: bool = False

    def because(self, first: int) -> Because | None:
        """Why the broadcasts from number `first` on come merged, the most severe cause if there are several.

        None if the client was away, or if the gateway itself was late.
        """
        if self.full_at >= first:
            return BUFFER
        if self.no_credit_at >= first:
            return CREDIT
        return INTERVAL if self.paced else None


FREE: Final = HeldBack()
PACED: Final = HeldBack(paced=True)
