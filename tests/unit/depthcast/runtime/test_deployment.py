"""A deployment that does not come up says what its gateway has logged."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from depthcast.runtime import deployment
from depthcast.runtime.deployment import Deployment, Service, ServiceError


class WaitingGateway(Service):
    """A gateway without a process, which runs and waits."""

    def __init__(self) -> None:
        self.name = "gateway"

    def check(self) -> None:
        """It has not ended."""

    def tail(self) -> str:
        return "waiting for Redis"


async def no_symbols(_: web.Request) -> web.Response:
    return web.json_response([])


async def test_the_log_of_a_gateway_without_live_books_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "START_TIMEOUT_S", 0.0)
    app = web.Application()
    app.router.add_get("/v1/symbols", no_symbols)
    async with TestServer(app) as server:
        address = f"http://127.0.0.1:{server.port}"
        started = Deployment("redis://127.0.0.1:1/0", address, [WaitingGateway()])
        with pytest.raises(ServiceError, match=r"had no live books in 0 s; .*:\nwaiting for Redis"):
            await started.wait_until_live(["BTC-USD"])
