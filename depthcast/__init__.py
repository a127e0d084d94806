"""What users import and run: command line, WebSocket client, stream consumer, demo.

    from depthcast import Consumer, connect

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from depthcast.client import Client, connect
    from depthcast.consumer import Consumer, StreamEntry
    from depthcast.updates import BookUpdate, Kind, State
    from shared.book import Book
    from shared.errors import ClientError, DepthcastError

__all__ = [
    "Book",
    "BookUpdate",
    "Client",
    "ClientError",
    "Consumer",
    "DepthcastError",
    "Kind",
    "State",
    "StreamEntry",
    "__version__",
    "connect",
]

_HOMES: Final = {
    "Book": "shared.book",
    "BookUpdate": "depthcast.updates",
    "Client": "depthcast.client",
    "ClientError": "shared.errors",
    "Consumer": "depthcast.consumer",
    "DepthcastError": "shared.errors",
    "Kind": "depthcast.updates",
    "State": "depthcast.updates",
    "StreamEntry": "depthcast.consumer",
    "connect": "depthcast.client",
}

try:
    __version__ = version("depthcast")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
