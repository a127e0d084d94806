"""Redis, ingestors, gateways, HAProxy and a market as processes, and how they are restarted in turn."""

import asyncio
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp

from depthcast.runtime.child import Child
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST, free_port
from tests.chaos.cluster import Process
from tests.waiting import eventually

PREFIX: Final = "rolling"
CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
HAPROXY: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
GATEWAYS: Final = 3
INGESTORS: Final = 2
Say = Callable[[str], None]


class Server:
    """One of our processes with an admin port, and where it is in the proxy: `slot`."""

    def __init__(self, program: str, label: str, folder: Path, slot: int, **options: object) -> None:
        self.admin, self.port, self.slot = free_port(), free_port(), slot
        given = {**options, "prefix": PREFIX, "partitions": 2, "admin_host": HOST, "admin_port": self.admin}
        if program == "gateway":
            given |= {"host": HOST, "port": self.port}
        self.process = Process(program, label, folder, given)

    async def ready(self) -> bool:
        """Whether `/readyz` of its admin port says so."""
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://{HOST}:{self.admin}/readyz") as answer,
            ):
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        try:
            await eventually(self.ready, message=f"{self.process.label} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._log()}") from error

    async def end(self) -> None:
        """End it as a service manager does; its status must be 0."""
        status = await self.process.terminate()
        assert status == 0, f"{self.process.label} ended with {status}: {self._log()}"

    def _log(self) -> str:
        return self.process.log.read_text(encoding="utf-8", errors="replace")[-3000:]


class Proxy:
    """HAProxy with a place for each gateway; `url` is where clients connect."""

    def __init__(self, folder: Path, gateways: list[Server]) -> None:
        self.url = f"http://{HOST}:{(port := free_port())}"
        self._socket = folder / "haproxy.sock"
        text = CONFIGURATION.read_text(encoding="utf-8")
        text = re.sub(r"bind :8080\b", f"bind {HOST}:{port}", text)
        text = re.sub(r"^    bind :8443 .*$", "", text, flags=re.MULTILINE)
        text = re.sub(r"bind :8404\b", f"bind {HOST}:{free_port()}", text)
        places = "\n".join(f"    server gateway-{each.slot} {HOST}:{each.port}" for each in gateways)
        text = text.replace(" resolvers engine init-addr none", "")
        text = re.sub(r"^    server-template .*$", places, text, flags=re.MULTILINE)
        text = text.replace("global\n", f"global\n    stats socket {self._socket}\n", 1)
        file = folder / "haproxy.cfg"
        file.write_text(text, encoding="utf-8")
        assert HAPROXY is not None
        with (folder / "haproxy.log").open("wb") as log:
            self._child = Child([HAPROXY, "-f", file], log)

    def is_up(self, slot: int) -> bool:
        """Whether new clients are sent to a gateway."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self._socket))
                client.sendall(b"show stat\n")
                text = client.makefile().read()
        except OSError:
            return False
        return re.search(rf"^gateways,gateway-{slot},(?:[^,]*,){{15}}UP,", text, re.MULTILINE) is not None

    def end(self) -> None:
        self._child.send(signal.SIGKILL)
        self._child.wait(10)


class Deployment:
    """All processes. `spare`: the place of a gateway that is started first, while the others go."""

    def __init__(self, folder: Path, redis_url: str, spread_s: float) -> None:
        self.folder = folder
        self.redis_url = redis_url
        draining = {"drain_delay_s": 3, "drain_spread_s": spread_s, "drain_timeout_s": 3}
        self.ingestors = [
            Server("ingestor", f"ingestor-{number}", folder, number, redis_url=redis_url)
            for number in range(INGESTORS)
        ]
        self.gateways = [
            Server(
                "gateway", f"gateway-{number}", folder, number, redis_url=redis_url,
                trusted_proxies="127.0.0.1", **draining,
            )
            for number in range(GATEWAYS + 1)
        ]  # fmt: skip
        self.spare = self.gateways.pop()
        self.proxy: Proxy | None = None

    def feed(self, rate: float) -> Child:
        """Start a market."""
        words = ["feed", "synthetic", "--register", "--redis-url", self.redis_url, "--prefix", PREFIX]
        with (self.folder / "feed.log").open("wb") as log:
            return Child([sys.executable, "-m", "depthcast", *words, "--rate", str(rate)], log)

    async def roll_ingestors(self, say: Say) -> None:
        """Restart each ingestor; the next one only when it stands by for all partitions."""
        for each in self.ingestors:
            await each.end()
            await each.start()
            say(f"{each.process.label} restarted")

    async def roll_gateways(self, say: Say) -> None:
        """Replace all gateways by new ones: the spare one first, so that clients have where to go.

        No gateway that will go takes new clients meanwhile, so nobody is closed twice.
        """
        assert self.proxy is not None
        await self.spare.start()
        await eventually(partial(self.is_up, self.spare), message="the proxy has found the new gateway")
        for old in self.gateways:
            old.process.send(signal.SIGUSR1)
        for old in self.gateways:
            await eventually(partial(self.is_down, old), message="no new clients go to an old one")
        say("a new gateway runs; the others take no new clients")
        for old in self.gateways:
            await old.end()
            say(f"{old.process.label} ended")
            if old is not self.gateways[-1]:  # the spare one takes the place of one of them
                await old.start()
                await eventually(partial(self.is_up, old), message="the proxy has found it")
                say(f"{old.process.label} restarted")

    def is_down(self, gateway: Server) -> bool:
        """Whether the proxy sends no new clients to a gateway."""
        return not self.is_up(gateway)

    def is_up(self, gateway: Server) -> bool:
        """Whether the proxy sends new clients to a gateway."""
        assert self.proxy is not None
        return self.proxy.is_up(gateway.slot)


@asynccontextmanager
async def running(rate: float, spread_s: float) -> AsyncIterator[tuple[Deployment, Child]]:
    """Start everything; end it afterwards."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-rolling-")))
        redis = await stack.enter_async_context(EmbeddedServer())
        made = Deployment(folder, redis.url, spread_s)
        for each in (*made.ingestors, *made.gateways, made.spare):
            stack.push_async_callback(_end, each)
        feed = made.feed(rate)
        stack.callback(feed.send, signal.SIGKILL)
        await asyncio.gather(*(each.start() for each in (*made.ingestors, *made.gateways)))
        made.proxy = Proxy(folder, [*made.gateways, made.spare])
        stack.callback(made.proxy.end)
        for gateway in made.gateways:
            await eventually(partial(made.is_up, gateway), message="the proxy has found it")
        yield made, feed


async def _end(server: Server) -> None:
    if server.process.running:
        await server.process.kill()
