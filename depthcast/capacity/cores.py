"""Processes in virtual time: each does its jobs in order, busy ones share their core equally."""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

NEVER: Final = float("inf")
Action = Callable[[], None]


class Cores:
    """The clock, what is due, and the jobs of each process. `cores`: the core of each process by name."""

    def __init__(self, cores: Mapping[str, int]) -> None:
        self.now = 0.0
        self.used = dict.fromkeys(cores, 0.0)
        self._cores = dict(cores)
        self._jobs: dict[str, deque[tuple[float, Action]]] = {name: deque() for name in cores}
        self._left: dict[str, float] = {}
        self._due: list[tuple[float, int, Action]] = []
        self._number = 0

    def at(self, time: float, action: Action) -> None:
        """Do something at a time; of equal times, the first that was asked for is first."""
        self._number += 1
        heapq.heappush(self._due, (max(time, self.now), self._number, action))

    def run(self, process: str, cpu_s: float, done: Action) -> None:
        """Append a job to a process's."""
        self._jobs[process].append((cpu_s, done))
        if process not in self._left:
            self._left[process] = cpu_s

    def busy(self, process: str) -> bool:
        """Whether it has a job."""
        return process in self._left

    def advance(self, until: float) -> None:
        """Let time pass, however many jobs are done in it."""
        while True:
            ends, process = self._next_end()
            due = self._due[0][0] if self._due else NEVER
            step = min(ends, due)
            if step > until:
                self._pass(until)
                return
            self._pass(step)
            if due <= ends:
                heapq.heappop(self._due)[2]()
            else:
                self._finish(process)

    def _next_end(self) -> tuple[float, str]:
        sharing = self._sharing()
        found, first = NEVER, ""
        for process, left in self._left.items():
            end = self.now + left * sharing[self._cores[process]]
            if end < found:
                found, first = end, process
        return found, first

    def _sharing(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for process in self._left:
            core = self._cores[process]
            counts[core] = counts.get(core, 0) + 1
        return counts

    def _pass(self, time: float) -> None:
        sharing = self._sharing()
        took = time - self.now
        for process in self._left:
            part = took / sharing[self._cores[process]]
            self._left[process] = max(0.0, self._left[process] - part)
            self.used[process] += part
        self.now = time

    def _finish(self, process: str) -> None:
        _, done = self._jobs[process].popleft()
        del self._left[process]
        if self._jobs[process]:
            self._left[process] = self._jobs[process][0][0]
        done()
