"""The engine without one of its optimisations, to see what that one is worth.

Affects this process only, which has to run as Python: what is compiled cannot be exchanged.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import depthcast.shared.book
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.orders import OrdersState
from depthcast.ingestor.rejects import ArrayResult


def _check_levels(self: LevelsState, events: Sequence[Any]) -> ArrayResult:
    applied = sum(self._apply_one(event) for event in events)
    return ArrayResult(applied, len(events) - applied, [], 0)


def _check_orders(self: OrdersState, events: Sequence[Any]) -> ArrayResult:
    for event in events:
        self._apply_one(event)
    return ArrayResult(len(events), 0, [], 0)


def _hot_loop() -> None:
    LevelsState._run = _check_levels  # type: ignore[method-assign] # noqa: SLF001
    OrdersState._run = _check_orders  # type: ignore[method-assign] # noqa: SLF001


def _flat_index() -> None:
    depthcast.shared.book.FLAT_MAX = 0  # type: ignore[misc]


WITHOUT: Final[dict[str, Callable[[], None]]] = {"hot-loop": _hot_loop, "flat-index": _flat_index}
"""By name: `hot-loop`, events applied without a call each; `flat-index`, a list for up to 4,000 levels."""
