"""A deterministic event loop: virtual time, no input or output, no threads, processes that can pause.

Every handle belongs to the simulated process whose context it carries. The handles of one process run in the
order in which they were made, as in a real loop; which process runs first is the seed's choice. A process
that is paused or killed keeps its handles, but none runs. A paused process later continues with all of them;
a killed one never does, so none of its `finally` blocks ever runs.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, Final

START_S: Final = 1_000.0
"""Virtual time at the beginning of a run."""

WALL_START_US: Final = 1_790_000_000_000_000
"""The wall clock then, µs since 1970."""

PROCESS: ContextVar["Process"] = ContextVar("process")
"""The process that is running."""


class Deadlock(Exception):
    """Nothing can ever happen any more."""


class Process:
    """A simulated process: its clock's error, and whether it is paused. `rng`: for its own draws."""

    def __init__(self, loop: "SimulatedLoop", name: str, rng: Random, skew_us: int = 0) -> None:
        self.loop = loop
        self.name = name
        self.rng = rng
        self.skew_us = skew_us
        self.paused = False
        self.killed = False
        self.held: deque[asyncio.Handle] = deque()
        self.context: Context = copy_context()
        self.context.run(PROCESS.set, self)

    @property
    def stands(self) -> bool:
        return self.paused or self.killed

    def now_us(self) -> int:
        """This process's wall clock, µs since 1970."""
        return WALL_START_US + self.skew_us + int((self.loop.time() - START_S) * 1_000_000)

    def spawn(self, main: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run `main` in this process."""
        return self.loop.create_task(main, context=self.context)

    def proceed(self) -> None:
        """Continue after a pause, beginning with what became due during it."""
        self.paused = False
        if not self.killed:
            self.release()

    def release(self) -> None:
        """Give all held handles back to the loop."""
        self.loop.give_back(self.held)
        self.held.clear()


class SimulatedTask(asyncio.Task[Any]):
    """A task that hashes by its number, so that sets of tasks have the same order in every run."""

    numbers = count()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.number = next(self.numbers)
        super().__init__(*arguments, **options)

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. Run it with `run_until_complete`; `world` is the process that is never paused."""

    # Parts of the base class that its stubs leave out.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.now = START_S
        self.rng = rng
        self.world = Process(self, "world", Random(rng.random()))
        self.errors: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        SimulatedTask.numbers = count()
        self.set_task_factory(self._make_task)
        self.set_exception_handler(lambda _, problem: self.errors.append(problem))

    def time(self) -> float:
        return self.now

    def give_back(self, handles: deque[asyncio.Handle]) -> None:
        """Run the held handles next."""
        self._ready.extend(handles)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> "asyncio.Task[Any]":
        task = SimulatedTask(coroutine, loop=loop, **options)
        self.tasks.append(task)
        return task

    def run_round(self) -> None:
        """Run one round from outside, after the run."""
        asyncio.events._set_running_loop(self)
        try:
            self._run_once()
        finally:
            asyncio.events._set_running_loop(None)

    def _run_once(self) -> None:
        """Run one round: everything that is ready, one process at a time, else go to the next timer."""
        if not self._ready and not self._stopping:
            self._advance()
        while self._scheduled and self._scheduled[0].when() <= self.now:
            timer = heapq.heappop(self._scheduled)
            if not timer.cancelled():
                self._ready.append(timer)
        batch, self._ready = self._ready, deque()
        for handles in self._shuffled(batch):
            self._run(*handles)

    def _advance(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)
        if not self._scheduled:
            raise Deadlock
        self.now = max(self.now, self._scheduled[0].when())

    def _shuffled(self, batch: deque[asyncio.Handle]) -> list[tuple[Process, list[asyncio.Handle]]]:
        by_process: dict[Process, list[asyncio.Handle]] = {}
        for handle in batch:
            process = handle._context.get(PROCESS, self.world)  # type: ignore[attr-defined] # not in the stubs
            by_process.setdefault(process, []).append(handle)
        order = list(by_process.items())
        if len(order) > 1:
            self.rng.shuffle(order)
        return order

    def _run(self, process: Process, handles: list[asyncio.Handle]) -> None:
        for handle in handles:
            if process.paused or process.killed:
                process.held.append(handle)
            elif not handle.cancelled():
                handle._run()

    def _write_to_self(self) -> None:
        """Nothing to do: there is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """Nothing to do: no file descriptor is ever ready."""
