"""Which modules run compiled, and how to run all of them as Python.

`setup.py` compiles every module that has a `.pxd` beside it, if there is a C compiler. Python prefers the
compiled module to its source, unless the environment says `DEPTHCAST_PURE=1`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Final

PACKAGE: Final = "depthcast"


class SourceFinder:
    """Finds modules of `PACKAGE` as source, even if they are compiled."""

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG004  # the signature of a meta path finder
    ) -> ModuleSpec | None:
        """Return None for modules that are left to other finders."""
        if path is None or name.partition(".")[0] != PACKAGE:
            return None
        specs = (FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name) for folder in path)
        return next((spec for spec in specs if spec is not None), None)


def prefer_source() -> None:
    """If `DEPTHCAST_PURE=1` is set, import all further modules as Python."""
    if os.environ.get("DEPTHCAST_PURE") == "1" and SourceFinder not in sys.meta_path:
        sys.meta_path.insert(0, SourceFinder)


def is_compiled_at(file: str) -> bool:
    """Return whether the module with this `__file__` runs compiled."""
    return not file.endswith(tuple(SOURCE_SUFFIXES))


def is_compiled(module: ModuleType) -> bool:
    """Return whether `module` runs compiled."""
    return is_compiled_at(str(module.__file__))
