"""The session of the JavaScript client for tests in Python, in a process of Node."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.vectors.peers import Message, Shown
from tests.vectors.preference import Wanted

PEER_MJS: Final = Path(__file__).with_name("peer.mjs")


class NodePeer:
    """The JavaScript client's session, in a process of Node; used with `with`."""

    def __init__(self, node: str) -> None:
        self._words = [node, "--no-warnings", str(PEER_MJS)]
        self.sent: list[Message] = []
        self.shown: dict[str, Shown] = {}
        self.try_later = False
        self.called: list[tuple[list[str], Wanted | None]] = []
        self._listener: tuple[list[str], Wanted | None] = ([], None)

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

    def begin(self, credit_window: int) -> None:
        """Forget everything: a new client."""
        self.sent.clear()
        self._do("begin", credit_window)

    def subscribe(self, symbols: Sequence[str], wanted: Wanted) -> None:
        self._do("subscribe", list(symbols), _options(wanted))

    def during(self, event: str, symbols: Sequence[str], wanted: Wanted | None) -> None:
        """At the next event of that kind a listener subscribes, or unsubscribes if nothing is wanted."""
        self._listener = list(symbols), wanted
        words = (
            ["unsubscribe", list(symbols)]
            if wanted is None
            else ["subscribe", list(symbols), _options(wanted)]
        )
        self._do("during", event, *words)

    def passes(self) -> None:
        """The second after which it repeats what was refused as too much at a time."""
        self._do("askAgain")

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
        self.called += [self._listener] * len(answer["called"])
        self.try_later = answer["tryLater"]
        self.shown = {
            symbol: Shown(
                state, seq, dict(bids), dict(asks), tick_size, Wanted(*claims),
                counts and (dict(counts[0]), dict(counts[1])),
            )
            for symbol, state, seq, bids, asks, tick_size, claims, counts in answer["shown"]
        }  # fmt: skip


def _options(wanted: Wanted) -> dict[str, Any]:
    depth, group, orders, interval_ms = wanted
    return {"depth": depth, "group": group, "orders": orders, "intervalMs": interval_ms}
