"""Every interleaving of a few threads, up to a bound on preemptions, without luck or sleeping.

Threads run one at a time. A thread may be preempted at each line (or opcode) it executes in chosen source
files, and gives way where it blocks or ends. A schedule is the list of choices made at those points; the
explorer runs the one in which nobody is preempted, then every schedule that differs from one already run by
one more choice, as long as it has at most `bound` preemptions (Musuvathi and Qadeer, Iterative context
bounding, 2007: two find nearly all real races). The code under test must be plain Python: compiled modules
execute no traceable lines.
"""

import itertools
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, NamedTuple

Body = Callable[[], None]


class Choice(NamedTuple):
    """A choice at one point: the threads that could continue, the default first, and the one that did.

    `preemptive`: the default is the running thread, so that any other choice preempts it.
    """

    options: tuple[int, ...]
    chosen: int
    preemptive: bool

    def cost(self) -> int:
        """Number of preemptions in this choice."""
        return int(self.preemptive and self.chosen != self.options[0])


class DeadlockError(BaseException):
    """All threads wait; raised inside each of them, past any handler of the code under test."""


class Schedule:
    """One run of `bodies`: first the choices of `prefix`, then the defaults."""

    def __init__(self, prefix: Sequence[int], files: Collection[str], *, opcodes: bool = False) -> None:
        self.choices: list[Choice] = []
        self.deadlocked = False
        self._prefix = prefix
        self._files = files
        self._opcodes = opcodes
        self._point = "opcode" if opcodes else "line"
        self._running = -1
        self._waiting: dict[int, object] = {}
        self._alive: list[int] = []
        # Plain locks are the gates: releasing a thread's gate lets it continue.
        self._go: list[threading.Lock] = []
        self._all_done = closed_gate()

    def run(self, bodies: Sequence[Body]) -> None:
        """Run all to the end; threads are numbered as in `bodies`."""
        self._alive = list(range(len(bodies)))
        self._go = [closed_gate() for _ in bodies]
        threads = [threading.Thread(target=self._main, args=item, daemon=True) for item in enumerate(bodies)]
        for thread in threads:
            thread.start()
        self._go[self._choose(self._runnable(), preemptive=False)].release()
        self._all_done.acquire()
        for thread in threads:
            thread.join()

    def lock(self) -> "ScheduledLock":
        """A lock whose waiting is visible to the scheduler."""
        return ScheduledLock(self)

    def wait_for(self, what: object) -> None:
        """Called by the running thread: let others run until `what` is announced."""
        me = self._running
        self._waiting[me] = what
        self._give_way(me)
        if self.deadlocked:
            raise DeadlockError

    def announce(self, what: object) -> None:
        """Let those that wait for `what` run again."""
        self._waiting = {thread: other for thread, other in self._waiting.items() if other is not what}

    def _main(self, me: int, body: Body) -> None:
        self._go[me].acquire()
        before = sys.gettrace()
        try:
            if not self.deadlocked:
                # Python 3.12 traces opcodes only if a frame requested them before tracing begins.
                sys._getframe().f_trace_opcodes = self._opcodes
                sys.settrace(self._trace_call)
                body()
        except DeadlockError:
            pass
        finally:
            sys.settrace(before)
            self._alive.remove(me)
            if self._alive:
                self._give_way(me)
            else:
                self._all_done.release()

    def _trace_call(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = self._opcodes
        frame.f_trace = self._trace_point  # from Python 3.13 on, this turns opcode events on
        return self._trace_point

    def _trace_point(self, _frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        # All that wait are alive, and the running thread does not wait: with a second one there is a choice.
        if event == self._point and len(self._alive) - len(self._waiting) > 1:
            me = self._running
            others = [thread for thread in self._runnable() if thread != me]
            if (chosen := self._choose([me, *others], preemptive=True)) != me:
                self._switch(me, chosen)
        return self._trace_point

    def _give_way(self, me: int) -> None:
        """Pass control on from a thread that cannot continue or has ended."""
        runnable = self._runnable()
        if not runnable:
            self.deadlocked = True
            self._waiting.clear()
            runnable = self._runnable()
        chosen = self._choose(runnable, preemptive=False)
        if chosen != me:
            self._switch(me, chosen)

    def _switch(self, me: int, chosen: int) -> None:
        self._go[chosen].release()
        if me in self._alive:
            self._go[me].acquire()

    def _runnable(self) -> list[int]:
        return [thread for thread in self._alive if thread not in self._waiting]

    def _choose(self, options: Sequence[int], *, preemptive: bool) -> int:
        place = len(self.choices)
        chosen = self._prefix[place] if place < len(self._prefix) else options[0]
        assert chosen in options, "the code under test does not do the same twice"
        self.choices.append(Choice(tuple(options), chosen, preemptive))
        self._running = chosen
        return chosen


class ScheduledLock(AbstractContextManager[None]):
    """A deterministic lock: a thread that waits for it does not run."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            self._schedule.wait_for(self)
        self._held = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = False
        self._schedule.announce(self)


def closed_gate() -> threading.Lock:
    """A lock that is already taken: the next thread to acquire it waits until it is released."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def explore(
    prepare: Callable[[Schedule], Sequence[Body]],
    files: Collection[str],
    *,
    bound: int,
    opcodes: bool = False,
    part: int = 0,
    parts: int = 1,
) -> Iterator[Schedule]:
    """Run every schedule with at most `bound` preemptions; `prepare` builds fresh bodies for each.

    With `parts`, run only those of one part, from 0: of the first preemptions, each part takes every
    `parts`-th. All parts together run every schedule; each runs those in which nobody is preempted.
    """
    firsts = itertools.count()
    prefixes: list[list[int]] = [[]]
    while prefixes:
        prefix = prefixes.pop()
        schedule = Schedule(prefix, files, opcodes=opcodes)
        schedule.run(prepare(schedule))
        yield schedule
        for branch, is_first in _branches(schedule.choices, len(prefix), bound):
            if not is_first or next(firsts) % parts == part:
                prefixes.append(branch)


def _branches(choices: Sequence[Choice], start: int, bound: int) -> Iterator[tuple[list[int], bool]]:
    """Each prefix that differs by one more choice, and whether that is its first preemption."""
    taken = [choice.chosen for choice in choices]
    spent = sum(choice.cost() for choice in choices[:start])
    for place in range(start, len(choices)):  # beyond the prefix all choices are defaults, which cost nothing
        if spent + choices[place].preemptive <= bound:
            for other in choices[place].options[1:]:
                yield [*taken[:place], other], choices[place].preemptive and not spent
