"""The WebSocket client without asyncio. A thread reads all the time, so books are always current."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from ssl import SSLContext
from typing import Self

from depthcast.client import Client as AsyncClient
from depthcast.client import ClientCounters
from depthcast.client import connect as connect_async
from depthcast.client.token import Token
from depthcast.shared.errors import ClientError
from depthcast.sync.reader import Reader


def connect(
    url: str,
    encoding: str = "json",
    *,
    token: Token = None,
    ssl: SSLContext | None = None,
    credit_window: int | None = None,
    backoff_s: tuple[float, float] = (0.2, 10.0),
) -> "Client":
    """Make a client for the gateway at `url`; it connects at `with`. Arguments as of `depthcast.connect`."""
    client = connect_async(
        url, encoding, token=token, ssl=ssl, credit_window=credit_window, backoff_s=backoff_s
    )
    return Client(client)


class Client(Reader[AsyncClient]):
    """A connection to a gateway with the books subscribed on it; made by `connect`, used with `with`.

    A thread reads all the time. So `book`, `state` and `frame` are current whenever they are called; updates
    wait for whoever iterates, conflated to at most one per symbol. Errors are those of `depthcast.Client`.
    Several threads may use a client.
    """

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client)
        self._following: asyncio.Task[None] | None = None

    @property
    def counters(self) -> ClientCounters:
        """Counts of messages, gaps, reconnects and so on since the client was made."""
        return self._reader.counters

    @property
    def ended(self) -> ClientError | None:
        """The error that ended this client for good, and that every call raises; None while it goes on."""
        return self._reader.ended

    def input_age_ms(self, symbol: str) -> int | None:
        """Return the age of the last input if the gateway calls the book of `symbol` stale for it."""
        return self._ask(lambda: self._reader.input_age_ms(symbol))

    def subscribe(
        self,
        symbols: str | Collection[str],
        depth: int = 25,
        interval_ms: int = 0,
        group: int = 1,
        *,
        orders: bool = False,
    ) -> None:
        """Subscribe to `symbols`, see `depthcast.Client.subscribe`; raises `ClientError`."""
        self._opened().call(self._reader.subscribe(symbols, depth, interval_ms, group, orders=orders))

    def unsubscribe(self, symbols: str | Collection[str]) -> None:
        """End subscriptions; afterwards no update of `symbols` is delivered. Raises `ClientError`."""
        self._opened().call(self._reader.unsubscribe(symbols))

    def ping(self) -> float:
        """Return the round trip time to the gateway in seconds."""
        return self._opened().call(self._reader.ping())

    def open(self) -> Self:
        """Do what `with` does at its beginning, as in a notebook: `close` ends it. Raises `ended`."""
        if self.ended is not None:
            raise self.ended
        return super().open()

    async def _open(self) -> None:
        await self._reader.__aenter__()
        self._following = asyncio.create_task(self._follow(), name="follow")

    async def _follow(self) -> None:
        with suppress(ClientError):  # every later call raises it
            await self._reader.follow()

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._reader.__aexit__(None, None, None)
