"""Live order books: a WebSocket client (`connect`), a stream consumer (`Consumer`) and a `Producer`.

    from depthcast import Consumer, Producer, connect

They are for asyncio; `depthcast.sync` has the client and the consumer for programs without it.

Names are loaded when they are first used, so that importing the package costs nothing. The command line, the
ingestor and the gateway are in this package too; they need the libraries of `depthcast[server]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from depthcast.shared.compiled import prefer_source
from depthcast.shared.version import VERSION

if TYPE_CHECKING:
    from depthcast.client import Client, ClientCounters, connect
    from depthcast.consumer import Consumer, Positions, StreamEntry
    from depthcast.producer import Producer, ProducerCounters, Receipt
    from depthcast.shared.book import Book, BookSide
    from depthcast.shared.errors import (
        ClientError,
        CodecError,
        CopyError,
        DeploymentMismatch,
        DepthcastError,
        InputLagging,
        InvalidEvent,
        MissingLibrary,
        PositionError,
        RedisUnavailable,
        SettingsError,
    )
    from depthcast.shared.position import Position
    from depthcast.shared.reject_record import RejectRecord
    from depthcast.shared.sizes import FloatPrices, Prices, Sizes
    from depthcast.shared.types import EntryInfo, Side
    from depthcast.updates import BookUpdate, Kind, Levels, State

__all__ = [
    "Book",
    "BookSide",
    "BookUpdate",
    "Client",
    "ClientCounters",
    "ClientError",
    "CodecError",
    "Consumer",
    "CopyError",
    "DeploymentMismatch",
    "DepthcastError",
    "EntryInfo",
    "FloatPrices",
    "InputLagging",
    "InvalidEvent",
    "Kind",
    "Levels",
    "MissingLibrary",
    "Position",
    "PositionError",
    "Positions",
    "Prices",
    "Producer",
    "ProducerCounters",
    "Receipt",
    "RedisUnavailable",
    "RejectRecord",
    "SettingsError",
    "Side",
    "Sizes",
    "State",
    "StreamEntry",
    "__version__",
    "connect",
]

_HOMES: Final = {
    "Book": "depthcast.shared.book",
    "BookSide": "depthcast.shared.book",
    "BookUpdate": "depthcast.updates",
    "Client": "depthcast.client",
    "ClientCounters": "depthcast.client",
    "ClientError": "depthcast.shared.errors",
    "CodecError": "depthcast.shared.errors",
    "Consumer": "depthcast.consumer",
    "CopyError": "depthcast.shared.errors",
    "DeploymentMismatch": "depthcast.shared.errors",
    "DepthcastError": "depthcast.shared.errors",
    "EntryInfo": "depthcast.shared.types",
    "FloatPrices": "depthcast.shared.sizes",
    "InputLagging": "depthcast.shared.errors",
    "InvalidEvent": "depthcast.shared.errors",
    "Kind": "depthcast.updates",
    "Levels": "depthcast.updates",
    "MissingLibrary": "depthcast.shared.errors",
    "Position": "depthcast.shared.position",
    "PositionError": "depthcast.shared.errors",
    "Positions": "depthcast.consumer",
    "Prices": "depthcast.shared.sizes",
    "Producer": "depthcast.producer",
    "ProducerCounters": "depthcast.producer",
    "Receipt": "depthcast.producer",
    "RedisUnavailable": "depthcast.shared.errors",
    "RejectRecord": "depthcast.shared.reject_record",
    "SettingsError": "depthcast.shared.errors",
    "Side": "depthcast.shared.types",
    "Sizes": "depthcast.shared.sizes",
    "State": "depthcast.updates",
    "StreamEntry": "depthcast.consumer",
    "connect": "depthcast.client",
}

prefer_source()

__version__ = VERSION


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
