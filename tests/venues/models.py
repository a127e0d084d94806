"""Every model there is: the `MODELS` of each module `tests/venues/model_….py`."""

import importlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.venues.model import ModelVenue


def models() -> dict[str, Callable[[Random], ModelVenue]]:
    """Return what makes each model, by its venue's name in `depthcast.feed.venues.registry`."""
    found: dict[str, Callable[[Random], ModelVenue]] = {}
    for path in sorted(Path(__file__).parent.glob("model_*.py")):
        found.update(importlib.import_module(f"tests.venues.{path.stem}").MODELS)
    return found
