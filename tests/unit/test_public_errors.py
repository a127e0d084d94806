"""Programs can name every error that the documentation of what they call names."""

import inspect
import re
from collections.abc import Iterator

import depthcast
import depthcast.sync
from depthcast.shared import errors

ERRORS = {name for name, found in vars(errors).items() if isinstance(found, type)} - {"Self"}


def documented() -> Iterator[tuple[str, str]]:
    """Each docstring of what is exported, and of its methods, by name."""
    for module in (depthcast, depthcast.sync):
        for name in module.__all__:
            found = getattr(module, name)
            yield name, inspect.getdoc(found) or ""
            if inspect.isclass(found):
                for method, value in inspect.getmembers(found):
                    if not method.startswith("_"):
                        yield f"{name}.{method}", inspect.getdoc(value) or ""


def test_every_error_that_public_docstrings_name_is_exported() -> None:
    named = {(place, word) for place, text in documented() for word in re.findall(r"\w+", text)}
    found = {(place, word) for place, word in named if word in ERRORS}
    assert {word for _, word in found} >= {"CopyError", "InvalidEvent", "ClientError", "SettingsError"}
    assert not {(place, word) for place, word in found if word not in depthcast.__all__}
