"""Every venue there is an adapter for, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from depthcast.feed.venue import Venue
from depthcast.feed.venues import (
    binance,
    bitget,
    bitmex,
    bybit,
    coinbase,
    coinbase_exchange,
    deribit,
    kraken,
    kraken_v1,
    okx,
)

_ALL: Final[tuple[Venue, ...]] = (
    binance.SPOT,
    binance.USDM,
    binance.COINM,
    bitget.VENUE,
    bitget.USDT_FUTURES,
    bitget.COIN_FUTURES,
    bitmex.VENUE,
    bybit.SPOT,
    bybit.LINEAR,
    bybit.INVERSE,
    coinbase.VENUE,
    coinbase_exchange.VENUE,
    deribit.VENUE,
    kraken.VENUE,
    kraken.DEEP,
    kraken_v1.VENUE,
    okx.VENUE,
)

VENUES: Final[Mapping[str, Venue]] = MappingProxyType({venue.profile.name: venue for venue in _ALL})
