"""The overridden private methods of aiohttp; a new version must still have them and call them.

Check these before allowing a new version in `pyproject.toml`.
"""

import inspect
from types import CodeType, FunctionType
from typing import Final

import pytest
from aiohttp import web

from depthcast.gateway.runtime.connection import RawWebSocket

OVERRIDDEN: Final = {
    "_close_transport": ((), "None"),
    "_handshake": (("request",), "tuple['CIMultiDict[str]', str | None, int, bool]"),
}
"""Name → (parameters, return type)."""


def test_these_are_all_that_are_overridden() -> None:
    methods = {name for name, value in vars(RawWebSocket).items() if isinstance(value, FunctionType)}
    assert methods == set(OVERRIDDEN)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_library_has_the_method_with_the_same_signature(name: str) -> None:
    parameters, returned = OVERRIDDEN[name]
    for owner in (web.WebSocketResponse, RawWebSocket):
        signature = inspect.signature(getattr(owner, name))
        assert tuple(signature.parameters) == ("self", *parameters)
        assert all(
            parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in signature.parameters.values()
        )
    assert (
        inspect.formatannotation(inspect.signature(getattr(web.WebSocketResponse, name)).return_annotation)
        == returned
    )


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_library_still_calls_it(name: str) -> None:
    methods = [method for method in vars(web.WebSocketResponse).values() if isinstance(method, FunctionType)]
    assert any(name in names_in(method.__code__) for method in methods if method.__name__ != name)


def names_in(code: CodeType) -> set[str]:
    """Names that the code refers to, including in inner functions."""
    inner = [names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
