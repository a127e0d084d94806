"""Binance: spot, USDⓈ-margined and COIN-margined futures; facts and lists of instruments.

Sources: "Web Socket Streams", "Market Data endpoints" and "Filters" (Binance Spot API documentation),
"Websocket Market Streams", "Order Book" and "Exchange Information" (USDⓈ-M and COIN-M Futures
documentation).
"""

from collections.abc import Sequence
from typing import Any, Final

from depthcast.feed.exact_json import loads
from depthcast.feed.venue import Profile, Quality, Request, Sizes
from depthcast.feed.venues.binance_adapter import BinanceAdapter
from depthcast.feed.venues.fields import shown, text
from depthcast.feed.venues.text_book import decimal_text

DAY_S: Final = 86_400.0


class BinanceVenue:
    """One market of Binance; see `depthcast.feed.venue.Venue`."""

    def __init__(
        self, profile: Profile, *, depth: Request, depth_limit: int, chained: bool, instruments: Request
    ) -> None:
        self.profile = profile
        self._depth = depth
        self._depth_limit = depth_limit
        self._chained = chained
        self._instruments = instruments

    def adapter(self) -> BinanceAdapter:
        return BinanceAdapter(depth=self._depth, depth_limit=self._depth_limit, chained=self._chained)

    def instruments_requests(self, symbols: Sequence[str]) -> Sequence[Request]:  # noqa: ARG002 - of the interface
        """Ask for all: a request for some is refused whole if it names one that does not exist."""
        return [self._instruments]

    def read_instruments(self, answers: Sequence[bytes]) -> dict[str, Sizes]:
        """Return the sizes of all symbols that have them; others cannot be traded by price."""
        found: dict[str, Sizes] = {}
        for answer in answers:
            listed = loads(answer)
            symbols = listed.get("symbols") if isinstance(listed, dict) else None
            if not isinstance(symbols, list):
                raise ValueError(f"no list of symbols: {shown(listed)}")
            found.update(filter(None, map(_sizes, symbols)))
        return found


def _sizes(listed: Any) -> tuple[str, Sizes] | None:
    """Return symbol and sizes, from its PRICE_FILTER and LOT_SIZE."""
    try:
        filters = {each.get("filterType"): each for each in listed["filters"]}
        tick = decimal_text(filters["PRICE_FILTER"].get("tickSize"))
        lot = decimal_text(filters["LOT_SIZE"].get("stepSize"))
        status = listed.get("status", listed.get("contractStatus"))
        return text(listed, "symbol"), Sizes(tick, lot, status == "TRADING")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _profile(name: str, title: str, ws_url: str, rest_url: str, quality: Quality, weights: int) -> Profile:
    return Profile(
        name=name,
        title=title,
        ws_url=ws_url,
        rest_url=rest_url,
        quality=quality,
        symbols_per_connection=200,  # 1024 streams are allowed, but a cut then concerns fewer books
        sends_per_s=4,  # of 5 on spot and 10 on futures; pongs count as well
        request_weight_per_min=weights,
        ping_every_s=20.0,
        silence_s=60.0,
        quiet_s=120.0,  # a check is cheap: see CHECK_WEIGHT
        lifetime_s=DAY_S,
        snapshot_by_rest=True,
    )


SPOT: Final = BinanceVenue(
    _profile(
        "binance",
        "Binance spot",
        "wss://stream.binance.com:9443/stream",
        "https://api.binance.com",
        Quality("U = previous u + 1", "", "the best 5000 and later changes beyond"),
        6000,
    ),
    depth=Request("/api/v3/depth?limit=5000&symbol=", 250),
    depth_limit=5000,
    chained=False,
    instruments=Request("/api/v3/exchangeInfo?showPermissionSets=false", 20),
)

_FUTURES: Final = Quality("pu = previous u", "", "the best 1000 and later changes beyond")

USDM: Final = BinanceVenue(
    _profile(
        "binance-usdm",
        "Binance USDⓈ-M futures",
        "wss://fstream.binance.com/public/stream",
        "https://fapi.binance.com",
        _FUTURES,
        2400,
    ),
    depth=Request("/fapi/v1/depth?limit=1000&symbol=", 20),
    depth_limit=1000,
    chained=True,
    instruments=Request("/fapi/v1/exchangeInfo", 1),
)

COINM: Final = BinanceVenue(
    _profile(
        "binance-coinm",
        "Binance COIN-M futures",
        "wss://dstream.binance.com/stream",
        "https://dapi.binance.com",
        _FUTURES,
        2400,
    ),
    depth=Request("/dapi/v1/depth?limit=1000&symbol=", 20),
    depth_limit=1000,
    chained=True,
    instruments=Request("/dapi/v1/exchangeInfo", 1),
)
