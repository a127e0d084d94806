"""Chooses the inputs worth keeping: the shortest that together reach every step that any of them reaches."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final

from tests.fuzz.target import Target

KEPT_MAX: Final = 60

Step = tuple[str, int, int]
"""From one line of a file to another."""


def steps_of(run: Callable[[bytes], object], data: bytes) -> set[Step]:
    """Run one input and return the steps between lines of Depthcast that it takes."""
    steps: set[Step] = set()

    def called(frame: FrameType, event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if event != "call" or "/depthcast/" not in name:
            return None
        last = frame.f_lineno

        def stepped(inner: FrameType, kind: str, _value: Any) -> Any:
            nonlocal last
            if kind == "line":
                steps.add((name, last, inner.f_lineno))
                last = inner.f_lineno
            return stepped

        return stepped

    sys.settrace(called)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return steps


def minimised(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return up to `KEPT_MAX` inputs, each of which reaches something that those before it do not."""
    reached: set[Step] = set()
    chosen: list[bytes] = []
    for data in sorted(set(inputs), key=lambda item: (len(item), item)):
        steps = steps_of(target.run, data)
        if not steps <= reached and len(chosen) < KEPT_MAX:
            reached |= steps
            chosen.append(data)
    return chosen
