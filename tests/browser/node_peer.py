"""The session of the JavaScript client for tests in Python, in a process of Node."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.vectors.peers import Message, Shown

PEER_MJS: Final = Path(__file__).with_name("peer.mjs")


class NodePeer:
    """The JavaScript client's session, in a process of Node; used with `with`."""

    def __init__(self, node: str) -> None:
        self._words = [node, "--no-warnings", str(PEER_MJS)]
        self.sent: list[Message] = []
        self.shown: dict[str, Shown] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def begin(self) -> None:
        """Forget everything: a new client."""
        self.sent.clear()
        self._do("begin")

    def subscribe(self, symbols: Sequence[str], depth: int, group: int = 1) -> None:
        self._do("subscribe", list(symbols), {"depth": depth, "group": group})

    def unsubscribe(self, symbols: Sequence[str]) -> None:
        self._do("unsubscribe", list(symbols))

    def opened(self) -> None:
        self._do("opened")

    def lost(self) -> None:
        self._do("lost")
        self.sent.clear()

    def receive(self, message: Message) -> None:
        self._do("receive", message)

    def _do(self, name: str, *arguments: Any) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([name, *arguments]) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        self.sent += answer["sent"]
        self.shown = {
            symbol: Shown(state, seq, dict(bids), dict(asks), tick_size)
            for symbol, state, seq, bids, asks, tick_size in answer["shown"]
        }
