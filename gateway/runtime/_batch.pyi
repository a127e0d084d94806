# Types of `_batch.c`.

from collections.abc import Callable
from typing import Any, Final, final

from depthcast.gateway.delivery.fan_out import Unsent
from depthcast.gateway.delivery.writer import Send

SLOTS: Final[int]

@final
class DirectSend:
    def __init__(self, fd: int) -> None: ...
    def __call__(self, data: bytes, /) -> int: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...

@final
class Batch:
    method: Final[str]
    failure: Final[int]
    sends: Final[int]
    submissions: Final[int]
    def __init__(self, ring: bool = ..., enter: Callable[[int, int, int], int] | None = ...) -> None: ...
    def add(self, owner: Any, sends: dict[Any, Send], parts: list[bytes], /) -> int: ...
    def finish(self) -> list[Unsent]: ...
    def close(self) -> None: ...
