"""What a target is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Target(NamedTuple):
    """A parser to fuzz.

    - `run`: feeds it one input; raises if something is wrong.
    - `promise`: what must hold, in a few words.
    - `seeds`: inputs to begin with.
    """

    name: str
    run: Callable[[bytes], object]
    promise: str
    seeds: Sequence[bytes] = ()
