"""HAProxy with the configuration of the composition, in front of two gateways."""

import logging
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from deploy.upgrade.composition import addresses_up
from depthcast.runtime.ports import free_port
from tests.integration.gateway_harness import (
    BIDS,
    RunningGateway,
    fake_ingestor,
    running_gateway,
)
from tests.waiting import eventually

CONFIGURATION = (Path(__file__).parents[2] / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")


def configured(folder: Path, text: str) -> list[str]:
    """The command of an HAProxy with a configuration."""
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    assert HAPROXY is not None
    return [HAPROXY, "-f", str(file)]


def test_the_configuration_is_correct(secrets: Path, tmp_path: Path) -> None:
    text = CONFIGURATION.replace("/secrets/", f"{secrets}/proxy/")
    done = subprocess.run([*configured(tmp_path, text), "-c"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


@dataclass
class Proxy:
    """A running HAProxy: its ports, and a context that trusts its certificate."""

    plain: int
    tls: int
    metrics: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://localhost:{self.tls}"


@contextmanager
def running_proxy(secrets: Path, folder: Path, gateways: list[RunningGateway]) -> Iterator[Proxy]:
    """HAProxy on free ports of this machine; the gateways are named instead of looked up."""
    proxy = Proxy(
        free_port(), free_port(), free_port(), ssl.create_default_context(cafile=secrets / "proxy" / "ca.pem")
    )
    text = CONFIGURATION.replace("/secrets/", f"{secrets}/proxy/")
    for port, free in ((8080, proxy.plain), (8443, proxy.tls), (8404, proxy.metrics)):
        text = re.sub(rf"bind :{port}\b", f"bind 127.0.0.1:{free}", text)
    servers = "\n".join(
        f"    server gateway-{number} {urlsplit(gateway.url).netloc}"
        for number, gateway in enumerate(gateways)
    )
    text = text.replace(" resolvers engine init-addr none", "").replace("inter 1s", "inter 100ms")
    text = re.sub(r"^    server-template .*$", servers, text, flags=re.MULTILINE)
    process = subprocess.Popen(configured(folder, text), stderr=subprocess.DEVNULL)
    try:
        yield proxy
    finally:
        process.terminate()
        process.wait(15)


@asynccontextmanager
async def composed(
    redis_url: str, prefix: str, secrets: Path, folder: Path
) -> AsyncIterator[tuple[Proxy, list[RunningGateway]]]:
    """Two gateways with the book of AAA behind a proxy that has found both."""
    settings: dict[str, Any] = {"trusted_proxies": "127.0.0.1", "drain_timeout_s": 0.1}
    async with fake_ingestor(redis_url, prefix, "AAA") as ingestor:
        await ingestor.birth("AAA", BIDS)
        with (
            running_gateway(redis_url, prefix, **settings) as first,
            running_gateway(redis_url, prefix, **settings) as second,
        ):
            await ingestor.until_live(first)
            await ingestor.until_live(second)
            with running_proxy(secrets, folder, [first, second]) as proxy:
                yield proxy, [first, second]


async def status_of(http: aiohttp.ClientSession, url: str, trust: ssl.SSLContext, **headers: str) -> int:
    """The status of a request; 0 while nothing listens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        async with http.get(url, ssl=trust, headers=named) as answer:
            return answer.status
    except aiohttp.ClientConnectionError:
        return 0


async def test_books_come_through_tls_and_a_gateway_may_go(
    redis_url: str, prefix: str, secrets: Path, tmp_path: Path
) -> None:
    async with (
        composed(redis_url, prefix, secrets, tmp_path) as (proxy, gateways),
        aiohttp.ClientSession() as http,
    ):
        ready = f"{proxy.url}/readyz"
        await eventually(lambda: _is(http, ready, proxy, 200), message="the proxy has found a gateway")

        async with http.ws_connect(f"{proxy.url}/v1/ws", ssl=proxy.trust) as client:
            assert (await client.receive_json())["type"] == "welcome"
            await client.send_json({"op": "subscribe", "symbols": ["AAA"]})
            while (message := await client.receive_json())["type"] != "snapshot":
                pass
            assert message["bids"] == [list(level) for level in BIDS.items()]

        # The scheme is the proxy's to say: a page of the same host without TLS is another origin.
        ws = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
        ws["Sec_WebSocket_Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        own, other = proxy.url, f"http://localhost:{proxy.tls}"
        for origin, forged, status in ((own, "http", 101), (other, "http", 403), (other, "https", 403)):
            found = await status_of(
                http, f"{proxy.url}/v1/ws", proxy.trust, Origin=origin, X_Forwarded_Proto=forged, **ws
            )
            assert found == status, (origin, forged)

        # One gateway goes: no request fails, as the proxy asks the other one.
        gateways[0].stop()
        for _ in range(20):
            assert await status_of(http, f"{proxy.url}/v1/symbols", proxy.trust) == 200

        async with http.get(f"http://127.0.0.1:{proxy.metrics}/metrics") as answer:
            assert 'haproxy_server_status{proxy="gateways",server="gateway-0"' in await answer.text()
        async with http.get(f"http://127.0.0.1:{proxy.metrics}/stats;csv") as answer:
            assert addresses_up(await answer.text()) == {"127.0.0.1"}, "the other gateway is up"
        plain = f"http://127.0.0.1:{proxy.plain}/v1/symbols"
        async with http.get(plain) as answer:
            assert answer.status == 200


async def test_requests_have_names_that_no_client_chooses(
    redis_url: str, prefix: str, secrets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "depthcast.gateway")
    async with (
        composed(redis_url, prefix, secrets, tmp_path) as (proxy, gateways),
        aiohttp.ClientSession() as http,
    ):
        ready = f"{proxy.url}/readyz"
        await eventually(lambda: _is(http, ready, proxy, 200), message="the proxy has found a gateway")
        sent = [("X-Request-ID", "chosen"), ("x-request-id", "again")]

        async def named(path: str) -> str:
            async with http.get(f"{proxy.url}{path}", ssl=proxy.trust, headers=sent) as answer:
                [name] = answer.headers.getall("X-Request-ID")
                return name

        names = [await named(path) for path in ("/readyz", "/readyz", "/v1/symbols", "/nothing")]
        async with http.ws_connect(f"{proxy.url}/v1/ws", ssl=proxy.trust, headers=sent) as client:
            await client.receive_json()
            await eventually(lambda: "a client has come" in caplog.messages)
            [line] = [record for record in caplog.records if record.message == "a client has come"]
            names.append(line.__dict__["request"])
        for gateway in gateways:
            assert gateway.process.counters.request_ids_replaced == 0
            gateway.stop()
        await eventually(lambda: _is(http, ready, proxy, 503), message="no gateway is left")
        names.append(await named("/readyz"))
    assert all(UUID.fullmatch(name) for name in names), names
    assert len(set(names)) == len(names)


async def _is(http: aiohttp.ClientSession, url: str, proxy: Proxy, status: int) -> bool:
    return await status_of(http, url, proxy.trust) == status
