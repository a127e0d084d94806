"""Which modules run compiled, and how to have them all run as Python.

A module with a `.pxd` of declarations beside it is compiled where there is a C compiler (`setup.py`). The source is the
same; Python prefers the compiled one where both are there, unless the environment says `DEPTHCAST_PURE=1`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Final

PACKAGE: Final = "depthcast"


class SourceFinder:
    """Finds modules of `PACKAGE` as source, whatever stands beside it."""

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG004  # the signature of a meta path finder
    ) -> ModuleSpec | None:
        """None where another finder should look."""
        if path is None or name.partition(".")[0] != PACKAGE:
            return None
        specs = (FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name) for folder in path)
        return next((spec for spec in specs if spec is not None), None)


def prefer_source() -> None:
    """Import modules that are not imported yet as Python, if `DEPTHCAST_PURE=1` is set."""
    if os.environ.get("DEPTHCAST_PURE") == "1" and SourceFinder not in sys.meta_path:
        sys.meta_path.insert(0, SourceFinder)


def is_compiled_at(file: str) -> bool:
    """Whether the module that knows itself by this `__file__` runs compiled."""
    return not file.endswith(tuple(SOURCE_SUFFIXES))


def is_compiled(module: ModuleType) -> bool:
    """Whether `module` runs compiled."""
    return is_compiled_at(str(module.__file__))
