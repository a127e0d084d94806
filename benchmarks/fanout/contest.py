"""A contest: servers with the same messages and clients; only the server limits the speed of a round."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.market import Market, Tick
from benchmarks.fanout.servers import Gateway, Server
from benchmarks.fanout.ticks import Lists, write_ticks
from benchmarks.harness import Absent, Contender, Metric, Run, Target

CPU = Metric("cpu_us", "server CPU per delivery", "µs")
RATE = Metric("frames_s", "deliveries a second", "", digits=0, compared=False)
BYTES = Metric("bytes", "frame", "B", digits=0, compared=False)
WARM_UP_TICKS = 3


class Place(NamedTuple):
    """A contender's running server; it gets `share` of a round's ticks, its clients offer `extensions`."""

    name: str
    server: Server
    share: float
    extensions: str


class Contest:
    """Servers of one benchmark, used with `with`. Each is measured with the lists and ticks given."""

    def __init__(self, run: Run, market: Market) -> None:
        self.run = run
        self.market = market
        self.places: list[Place] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def enter(
        self, name: str, server: AbstractContextManager[Server], share: float = 1.0, extensions: str = "-"
    ) -> None:
        """Start a server, or say why it is absent."""
        try:
            self.places.append(Place(name, self._stack.enter_context(server), share, extensions))
        except Absent as absent:
            self.run.absent(name, absent)

    def measure(
        self,
        title: str,
        lists: Lists,
        ticks: int,
        *,
        baseline: str,
        targets: Sequence[Target] = (),
        changing: Callable[[], Sequence[str] | None] = lambda: None,
        rounds: int | None = None,
        metrics: Sequence[Metric] = (CPU, RATE, BYTES),
    ) -> dict[str, dict[str, list[float]]]:
        """Interleaved rounds of so many ticks each; `changing` names the symbols of a tick, None for all."""
        rounds = rounds or self.run.rounds
        made = [self.market.tick(changing()) for _ in range(WARM_UP_TICKS + rounds * ticks)]
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-ticks-")))
            contenders = []
            for place in self.places:
                load = self._load(place, lists, made, folder)
                try:
                    stack.enter_context(load)
                    load.command("run", WARM_UP_TICKS)
                except Absent as absent:
                    self.run.absent(place.name, absent)
                    continue
                one_round = partial(load.saturated, max(1, round(ticks * place.share)))
                contenders.append(Contender(place.name, one_round))
            return self.run.compare(
                title, contenders, metrics, baseline=baseline, targets=targets, rounds=rounds
            )

    def _load(self, place: Place, lists: Lists, ticks: Sequence[Tick], folder: Path) -> Load:
        server = place.server
        file = folder / (server.keys.prefix if isinstance(server, Gateway) else type(server).__name__)
        if not file.exists():
            write_ticks(file, self.market, ticks, lists, server.encode(self.market))
        return Load(server, kinds_of(server, lists, place.extensions), file)


def kinds_of(server: Server, lists: Lists, extensions: str = "-") -> list[Kind]:
    """One kind for each distinct list."""
    counts: dict[tuple[int, ...], int] = {}
    for channels in lists:
        counts[tuple(channels)] = counts.get(tuple(channels), 0) + 1
    answered = isinstance(server, Gateway) and extensions == "-"  # in compressed frames no time is found
    return [
        Kind(
            count,
            server.subscribe(channels),
            subprotocol=server.subprotocol,
            extensions=extensions,
            snapshots=len(channels) if answered else 0,
        )
        for channels, count in counts.items()
    ]
