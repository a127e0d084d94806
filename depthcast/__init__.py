"""What users import and run: command line, WebSocket client, stream consumer, demo.

    from depthcast import Consumer, connect

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from depthcast.shared.compiled import prefer_source

if TYPE_CHECKING:
    from depthcast.client import Client, connect
    from depthcast.consumer import Consumer, StreamEntry
    from depthcast.shared.book import Book
    from depthcast.shared.errors import ClientError, DepthcastError
    from depthcast.updates import BookUpdate, Kind, State

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
    "Book": "depthcast.shared.book",
    "BookUpdate": "depthcast.updates",
    "Client": "depthcast.client",
    "ClientError": "depthcast.shared.errors",
    "Consumer": "depthcast.consumer",
    "DepthcastError": "depthcast.shared.errors",
    "Kind": "depthcast.updates",
    "State": "depthcast.updates",
    "StreamEntry": "depthcast.consumer",
    "connect": "depthcast.client",
}

prefer_source()

try:
    __version__ = version("depthcast")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
