"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("depthcast")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


VERSION: Final = _installed()
