"""A temporary deployment on this machine: server, ingestor and gateway, ended and removed together."""

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from depthcast.runtime.child import Child
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.errors import DepthcastError
from depthcast.shared.instruments import Instrument, parse_toml
from depthcast.shared.protocol import WEBSOCKET_PATH
from depthcast.shared.settings import WITHIN_REDIS_URL, file_variable, option, secrets, variable

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 12.0
POLL_S: Final = 0.02
LOG_BYTES_SHOWN: Final = 2000
ANSWERS_PER_WORKER: Final = 6

NO_TOKENS: Final = {"anonymous": True, "token_keys": "", "token_jwks_url": ""}
"""A gateway for this machine alone: whatever the environment says is for another one."""

NO_DRAINING: Final = {"drain_delay_s": 0, "drain_spread_s": 0}
"""There is no other gateway that clients could go to."""

_LISTENING: Final = re.compile(rb"gateway listening on (https?://\S+)")


class ServiceError(DepthcastError):
    """A service of the deployment did not start, or ended by itself; `log` has the last lines of its log."""

    def __init__(self, name: str, problem: str, log: str) -> None:
        self.name = name
        self.problem = problem
        self.log = log
        super().__init__(f"the {name} {problem}; the last lines of its log:\n{log or '(none)'}")


class Service:
    """A child process `python -m depthcast.<name>` that does not outlive this one; it logs to a file."""

    def __init__(self, name: str, folder: Path, options: Mapping[str, object]) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        words = [f"{option(name)}={value}" for name, value in options.items() if name not in secrets()]
        with self._log.open("wb") as output:
            self._child = Child(
                [sys.executable, "-m", f"depthcast.{name}", *words],
                output,
                environment=with_secrets(os.environ, options),
            )

    def check(self) -> None:
        """Raise `ServiceError` if the service has ended."""
        if self._child.returncode is not None:
            raise ServiceError(self.name, f"ended with status {self._child.returncode}", self.tail())

    def find_in_log(self, pattern: re.Pattern[bytes]) -> str | None:
        """Return the first group of `pattern` in the log, None without a match."""
        match = pattern.search(self._log.read_bytes())
        return match[1].decode() if match else None

    async def wait_for(self, pattern: re.Pattern[bytes]) -> str:
        """Wait for `pattern` in the log; raises `ServiceError` if the service ends or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (found := self.find_in_log(pattern)) is None:
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(self.name, f"was not ready in {START_TIMEOUT_S:g} s", self.tail())
            await asyncio.sleep(POLL_S)
        return found

    async def stop(self) -> None:
        """End the service, by force if it does not end cleanly in time."""
        self._child.send(signal.SIGTERM)
        if not await asyncio.to_thread(self._child.wait, STOP_TIMEOUT_S):
            self._child.send(signal.SIGKILL)
            await asyncio.to_thread(self._child.wait, STOP_TIMEOUT_S)

    def tail(self) -> str:
        """Return the last lines of the log."""
        return self._log.read_bytes()[-LOG_BYTES_SHOWN:].decode("utf-8", "replace").rstrip()


def with_secrets(environment: Mapping[str, str], options: Mapping[str, object]) -> dict[str, str]:
    """Return an environment with the secret ones among `options`, which a command line would show to all.

    No other address or credentials of Redis are left in it.
    """
    others = {*map(variable, (*WITHIN_REDIS_URL, *secrets())), *map(file_variable, secrets())}
    kept = {name: text for name, text in environment.items() if name not in others}
    return kept | {variable(name): str(value) for name, value in options.items() if name in secrets()}


class Deployment:
    """The addresses and services of a running deployment."""

    def __init__(self, redis_url: str, gateway_url: str, services: list[Service]) -> None:
        self.redis_url = redis_url
        self.gateway_url = gateway_url
        self.services = services  # the gateway is the last one

    @property
    def websocket_url(self) -> str:
        """Address for WebSocket clients."""
        return self.gateway_url.replace("http", "ws", 1) + WEBSOCKET_PATH

    async def wait_until_live(self, symbols: Collection[str], workers: int = 1) -> None:
        """Wait until the gateway has live books of `symbols`; raises `ServiceError` if it takes too long.

        The kernel spreads connections over the workers, so several connections in a row must see live books.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        wanted = 1 if workers == 1 else ANSWERS_PER_WORKER * workers
        good = 0
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            while good < wanted:
                self.check()
                if time.monotonic() > deadline:
                    problem = f"had no live books in {START_TIMEOUT_S:g} s"
                    raise ServiceError("gateway", problem, self.services[-1].tail())
                async with http.get(f"{self.gateway_url}/v1/symbols") as answer:
                    listed = {item["symbol"]: item for item in await answer.json()}
                if all([await self._is_live(http, listed.get(symbol)) for symbol in symbols]):
                    good += 1
                else:
                    good = 0
                    await asyncio.sleep(POLL_S)

    async def _is_live(self, http: aiohttp.ClientSession, item: Mapping[str, Any] | None) -> bool:
        """Whether a symbol of the list is live; a book that is not followed yet is asked for."""
        if item is None or item.get("followed", True):
            return item is not None and item["state"] == "live"
        async with http.get(f"{self.gateway_url}/v1/books/{item['symbol']}?depth=1") as answer:
            return answer.status == 200 and (await answer.json())["state"] == "live"

    def check(self) -> None:
        """Raise `ServiceError` if a service has ended."""
        for service in self.services:
            service.check()


@asynccontextmanager
async def local_deployment(
    instruments_toml: str,
    *,
    redis_url: str | None = None,
    ingestor: Mapping[str, object] | None = None,
    gateway: Mapping[str, object] | None = None,
    **common: object,
) -> AsyncIterator[Deployment]:
    """Run an ingestor with these instruments, and a gateway on a free port, while the block runs.

    They use the server at `redis_url`, or an embedded one. `ingestor`, `gateway` and `common` are settings by
    name, for one process or for both. The books are live when the block is entered. Raises
    `EmbeddedServerError` and `ServiceError`.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-")))
        url = redis_url or (await stack.enter_async_context(EmbeddedServer())).url
        instruments = folder / "instruments.toml"
        instruments.write_text(instruments_toml, encoding="utf-8")
        # The environment may describe another deployment, so the settings are passed as options, which win.
        both = {"redis_url": url, "prefix": "depthcast", "partitions": 1, "admin_port": 0, **common}
        books = Service("ingestor", folder, {**both, "instruments": instruments, **(ingestor or {})})
        stack.push_async_callback(books.stop)
        alone = {"host": "127.0.0.1", "port": 0, "workers": 1, **NO_TOKENS, **NO_DRAINING}
        fan_settings = {**both, **alone, **(gateway or {})}
        fanout = Service("gateway", folder, fan_settings)
        stack.push_async_callback(fanout.stop)
        gateway_url = await fanout.wait_for(_LISTENING)
        deployment = Deployment(url, gateway_url, [books, fanout])
        await deployment.wait_until_live(parse_toml(instruments_toml), int(str(fan_settings["workers"])))
        yield deployment


NOT_IN_FILES: Final = ("symbol", "listing")
"""Parts of an instrument that are no key of its table in a file."""


def to_toml(instruments: Iterable[Instrument]) -> str:
    """Return the TOML of an ingestor's instruments file."""
    tables = []
    for item in instruments:
        fields = {name: value for name, value in item._asdict().items() if name not in NOT_IN_FILES}
        lines = [f'["{item.symbol}"]', *(f'{name} = "{value}"' for name, value in fields.items())]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)
