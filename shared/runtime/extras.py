"""Says what to install if the libraries of the extra `server` are missing.

`pip install depthcast` brings the WebSocket client and the stream consumer. The command line, the ingestor
and the gateway need `depthcast[server]`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LIBRARIES: Final = frozenset(
    {"click", "cryptography", "jwt", "prometheus_client", "pythonjsonlogger", "rich", "textual"}
)
"""Required modules of the extra; uvloop is optional."""

REMEDY: Final = "pip install 'depthcast[server]'"


def missing_library(error: ImportError) -> str | None:
    """Return the extra's library that a failed import lacks, None if it failed for another reason."""
    library = (error.name or "").partition(".")[0]
    return library if isinstance(error, ModuleNotFoundError) and library in LIBRARIES else None


@contextmanager
def server_extra() -> Iterator[None]:
    """End the process with one line and status 1 if an import in the block lacks a library of the extra."""
    try:
        yield
    except ImportError as error:
        library = missing_library(error)
        if library is None:
            raise
        sys.exit(f"Error: the command line needs {library}, which is not installed; {REMEDY}")
