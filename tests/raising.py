"""Raises an exception at the n-th line that a call executes in the program's own modules."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = tuple(str(ROOT / folder) for folder in ("ingestor", "broadcaster", "shared"))
Call = Callable[[], object]


@cache
def _is_ours(path: str) -> bool:
    """Whether a file belongs to the traced folders; asked at every call, so it is found out once."""
    return str(Path(path).resolve()).startswith(FOLDERS)


class _Tracer:
    """Counts the lines that are executed, and raises at one of them. Compiled modules have no lines."""

    def __init__(self, at: int, error: BaseException | None) -> None:
        self.at = at
        self.error = error
        self.lines: list[tuple[str, int]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> "_Tracer | None":
        path = frame.f_code.co_filename
        if event == "call":
            return self if _is_ours(path) else None
        if event == "line":
            self.lines.append((path, frame.f_lineno))
            if len(self.lines) == self.at and self.error is not None:
                raise self.error
        return self

    def run(self, call: Call) -> None:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            next(_contained(call))
        finally:
            sys.settrace(before)


def _contained(call: Call) -> Iterator[None]:
    """Call within a generator, which has a state of handled exceptions of its own.

    An exception that a tracer raises where an `except` block returns leaves the block's exception in that
    state; without the generator it would be the `__context__` of whatever is raised afterwards.
    """
    call()
    yield


def places(call: Call, times: int = 2) -> Iterator[int]:
    """Numbers of the executions of lines at which to raise: the first `times` of each line."""
    tracer = _Tracer(0, None)
    tracer.run(call)
    seen: dict[tuple[str, int], int] = {}
    for number, line in enumerate(tracer.lines, 1):
        seen[line] = seen.get(line, 0) + 1
        if seen[line] <= times:
            yield number


def raise_at(number: int, error: BaseException, call: Call) -> bool:
    """Call, and raise `error` at the execution `number`; False if the call ended all the same.

    What depends on the time may take fewer lines than before.
    """
    tracer = _Tracer(number, error)
    try:
        tracer.run(call)
    except BaseException as caught:
        if caught is not error and caught.__cause__ is not error and caught.__context__ is not error:
            raise
        return True
    return False
