"""Fixtures for all tests: Redis servers, key prefixes, recorded data; the order in which tests run.

Most tests share one server and use different key prefixes; tests that restart, flush or fill a server start
their own.
"""

import gc
import os
import signal
import sys
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import redis

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.server import open_server
from tests.connections_left import connections_left, watch_connections
from tests.sharing import Once, slow_first

ROOT = Path(__file__).parents[1]
PACKAGES = ("shared", "broadcaster", "ingestor", "gateway")
RECORDED_DATA = Path(__file__).parents[2] / "shared" / "data"

# A shared machine can stall any single example; pytest's own timeout catches real hangs.
hypothesis.settings.register_profile("depthcast", deadline=None, print_blob=True)
hypothesis.settings.register_profile("few", hypothesis.settings.get_profile("depthcast"), max_examples=25)
hypothesis.settings.load_profile("depthcast")


def pytest_configure() -> None:
    """Refuse to test modules that were compiled before their source changed, unless they run as Python.

    A shell's background job ignores Ctrl-C, and so would all programs that the tests start and end by it.
    Without bytecode files, each of some hundred processes would compile every module anew.
    """
    watch_connections()
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("DEPTHCAST_PURE") == "1":
        return
    for declared in (path for package in PACKAGES for path in (ROOT / package).rglob("*")):
        if declared.suffix not in (".pxd", ".c"):
            continue
        sources = (declared, declared.with_suffix(".py"))
        newest = max(path.stat().st_mtime for path in sources if path.exists())
        for made in declared.parent.glob(f"{declared.stem}.*.so"):
            if made.stat().st_mtime < newest:
                pytest.exit(f"{made.name} is older than its source: `make test` compiles it anew", 4)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect no garbage while ten thousand tests are made, and never look at those again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the work, each begins with slow tests: nobody waits for a last one."""
    if (worker := getattr(config, "workerinput", None)) is not None:
        items[:] = slow_first(items, worker["workercount"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """A test that leaves a connection to a server open fails."""
    try:
        result = yield
    finally:
        left = connections_left()
    assert not left, f"left open: {', '.join(left)}"
    return result


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """Makes what all processes of this run use, once."""
    base = tmp_path_factory.getbasetemp()
    return Once((base if worker_id == "master" else base.parent) / "once")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of the server the tests share: DEPTHCAST_TEST_REDIS_URL, else an embedded one."""
    with open_server(os.environ.get("DEPTHCAST_TEST_REDIS_URL")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of the shared server; use it together with `prefix`, and never flush it."""
    return redis_server


@pytest.fixture
def prefix(redis_server: str) -> Iterator[str]:
    """A key prefix for this test only; every key that starts with it is deleted afterwards."""
    with own_prefix(redis_server) as name:
        yield name


@pytest.fixture(scope="module")
def module_prefix(redis_server: str) -> Iterator[str]:
    """The same for what the tests of a module share."""
    with own_prefix(redis_server) as name:
        yield name


@contextmanager
def own_prefix(redis_server: str) -> Iterator[str]:
    """A key prefix that nobody else has; every key that starts with it is deleted at the end."""
    name = f"test-{uuid.uuid4().hex}"
    yield name
    with redis.Redis.from_url(redis_server, protocol=2) as client:
        keys = [
            *client.scan_iter(match=f"{name}*", count=1000),
            *client.scan_iter(match=f"{{{name}*", count=1000),
        ]
        if keys:
            client.unlink(*keys)


@pytest.fixture
def fresh_server() -> Iterator[EmbeddedServer]:
    """A running, empty server for this test only, to be restarted, killed, filled or flushed."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def recorded_data() -> Path:
    """The folder of recorded market data beside the checkout; skips the test if it is missing."""
    if not RECORDED_DATA.is_dir():
        pytest.skip("no recorded market data: the folder ../shared/data is not beside this checkout")
    return RECORDED_DATA
