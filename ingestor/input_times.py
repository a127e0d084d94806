"""What the next broadcast says of the times of its input (`depthcast.shared.input_times`). Pure, unlocked."""

from collections.abc import Collection

from depthcast.shared.input_times import input_ts_of
from depthcast.shared.types import Symbol


class InputTimes:
    """The times of the books of a partition, by symbol.

    `event_ts`: the last source time published; `input_ts`: when the last input published came.
    """

    def __init__(self) -> None:
        self.event_ts: dict[Symbol, int] = {}
        self.input_ts: dict[Symbol, int] = {}
        # Since the last drain: symbols that had input, and the newest source time of applied events.
        self._heard: dict[Symbol, None] = {}
        self._newest: dict[Symbol, int] = {}

    def note(self, symbol: Symbol, applied_ts: int | None) -> None:
        """Note input of a symbol; `applied_ts`: its source time, if events of it applied."""
        self._heard[symbol] = None
        if applied_ts is not None:
            self._newest[symbol] = max(applied_ts, self._newest.get(symbol, applied_ts))

    def heard(self) -> Collection[Symbol]:
        """The symbols that had input since the last drain."""
        return self._heard.keys()

    def restore(self, symbol: Symbol, event_ts: int | None, input_ts: int) -> None:
        """Take over what was published of a book."""
        if event_ts is not None:
            self.event_ts[symbol] = event_ts
        if input_ts:
            self.input_ts[symbol] = input_ts

    def forget(self, symbol: Symbol) -> None:
        """Forget all times of a book: another one begins."""
        times: tuple[dict[Symbol, int], ...] = (self.event_ts, self.input_ts, self._newest)
        for each in times:
            each.pop(symbol, None)
        self._heard.pop(symbol, None)

    def drain(
        self, held_back: Collection[Symbol], changed: Collection[Symbol], src: str
    ) -> tuple[dict[Symbol, int], tuple[Symbol, ...]]:
        """Take what was noted: the source times of `changed` symbols, and symbols that had input unchanged.

        `changed`: symbols whose applied events are in a delta. `src`: the last input entry consumed. What was
        noted of symbols in `held_back` stays.
        """
        heard, newest = self._heard, self._newest
        self._heard = {symbol: None for symbol in held_back if symbol in heard}
        self._newest = {symbol: newest[symbol] for symbol in held_back if symbol in newest}
        for symbol in self._heard:
            del heard[symbol]
        if input_ts := input_ts_of(src):
            self.input_ts.update(dict.fromkeys(heard, input_ts))
        times = {symbol: newest[symbol] for symbol in changed if symbol in newest} if newest else {}
        self.event_ts.update(times)
        unchanged = heard.keys() - changed
        return times, tuple(sorted(unchanged)) if unchanged else ()
