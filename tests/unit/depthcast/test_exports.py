"""The package's public names: complete, lazy, and one object each."""

import subprocess
import sys

import pytest

import depthcast
import depthcast.updates

HEAVY = ("aiohttp", "asyncio", "click", "msgpack", "orjson", "redis", "sortedcontainers")


def test_every_name_loads_once() -> None:
    for name in depthcast.__all__:
        assert getattr(depthcast, name) is getattr(depthcast, name)
    assert depthcast.State is depthcast.updates.State
    assert dir(depthcast) == sorted(depthcast.__all__)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'depthcast' has no attribute 'nothing'"):
        depthcast.__getattr__("nothing")


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import depthcast", set()),
        ("from depthcast import State", set()),
        ("from depthcast import Consumer", {"asyncio", "msgpack", "redis"}),
    ],
)
def test_importing_costs_what_is_used(code: str, loaded: set[str]) -> None:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & set(HEAVY) == loaded
