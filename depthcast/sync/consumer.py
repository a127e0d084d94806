"""The stream consumer without asyncio. It reads only while an update is waited for, and delivers each."""

from collections.abc import Collection

from depthcast.consumer import Consumer as AsyncConsumer
from depthcast.consumer import Positions
from depthcast.shared.listing import Listing
from depthcast.shared.settings import REPLICA_LAG_MAX_MS
from depthcast.sync.reader import Reader


class Consumer(Reader[AsyncConsumer]):
    """A reader of a deployment's books, used with `with`.

    Arguments and errors are those of `depthcast.Consumer`. Books change only while an update is waited for.
    For books that are always current, use a gateway and `depthcast.sync.connect`.
    """

    def __init__(
        self,
        redis_url: str,
        symbols: str | Collection[str] | None = None,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
        stale_ms: int = 5000,
        input_lag_max_ms: int = 5000,
        since: Positions | str | None = None,
        orders: bool = False,
        read_from: str = "primary",
        replica_lag_max_ms: int = REPLICA_LAG_MAX_MS,
        name: str | None = None,
    ) -> None:
        super().__init__(
            AsyncConsumer(
                redis_url,
                symbols,
                prefix=prefix,
                partitions=partitions,
                stale_ms=stale_ms,
                input_lag_max_ms=input_lag_max_ms,
                since=since,
                orders=orders,
                read_from=read_from,
                replica_lag_max_ms=replica_lag_max_ms,
                name=name,
            )
        )

    @property
    def resyncs(self) -> int:
        """Number of times that books were loaded again after the first load."""
        return self._ask(lambda: self._reader.resyncs)

    @property
    def position(self) -> Positions:
        """How far updates were delivered, see `depthcast.Consumer.position`."""
        return self._ask(lambda: self._reader.position)

    def listing(self, symbol: str) -> Listing | None:
        """Return what the book of `symbol` stands for; raises `ClientError` while there is no book."""
        return self._ask(lambda: self._reader.listing(symbol))

    def input_age_s(self, symbol: str) -> float | None:
        """Return how long ago the last input of `symbol` came, None if it is not known."""
        return self._ask(lambda: self._reader.input_age_s(symbol))

    def age_s(self, symbol: str) -> float | None:
        """Return the age of the newest entry that the book of `symbol` includes, None if it is not known."""
        return self._ask(lambda: self._reader.age_s(symbol))

    async def _open(self) -> None:
        await self._reader.__aenter__()

    async def _close(self) -> None:
        await self._reader.__aexit__(None, None, None)
