"""Keys that change: a file that is replaced, a JWK set that is rotated, and sources that fail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from depthcast.gateway.runtime import key_source as source_module
from depthcast.gateway.runtime.key_source import FileKeys, KeySource, UrlKeys, key_source
from depthcast.runtime.tokens import public_jwk
from depthcast.shared.errors import SettingsError
from depthcast.shared.settings import GatewaySettings
from tests.tokens import SECRET, pem, private_key
from tests.waiting import eventually


@asynccontextmanager
async def running(source: KeySource) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Issuer:
    """Serves a JWK set; `status`: what it answers; `asked`: how often."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.status = 200
        self.asked = 0
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        keys = [public_jwk(private_key("EdDSA", name)) | {"kid": name} for name in self.names]
        return web.Response(text=json.dumps({"keys": keys}), status=self.status, headers={"Location": "/"})


@asynccontextmanager
async def issuing(*names: str) -> AsyncIterator[Issuer]:
    issuer, app = Issuer(*names), web.Application()
    app.add_routes([web.get("/keys", issuer.answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield issuer
    finally:
        await runner.cleanup()


def kids(source: KeySource) -> list[str | None]:
    return [key.kid for key in source.keys or ()]


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(pem(private_key()))
    source = FileKeys(str(path), poll_s=0.01)
    async with running(source):
        path.write_bytes(pem(private_key("ES256")))
        await eventually(lambda: [key.algorithm for key in source.keys or ()] == ["ES256"])
        path.write_bytes(b"hunter2")
        await asyncio.sleep(0.05)
        path.unlink()
        await asyncio.sleep(0.05)
        assert [key.algorithm for key in source.keys or ()] == ["ES256"], "what was right stays"
        path.write_bytes(pem(private_key("RS256")))
        await eventually(lambda: [key.algorithm for key in source.keys or ()] == ["RS256"])


@pytest.mark.parametrize("content", [None, b"hunter2", b"x" * 300_000])
def test_a_file_that_is_wrong_at_first_ends_the_gateway(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="DEPTHCAST_TOKEN_KEYS") as refused:
        key_source(GatewaySettings(token_keys=str(path)))
    assert "hunter2" not in str(refused.value)


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="32 are the least") as refused:
        key_source(GatewaySettings(token_secret="hunter2"))
    assert "hunter2" not in str(refused.value)
    made = key_source(GatewaySettings(token_secret=SECRET))
    assert made is not None
    assert len(made.keys or ()) == 1


async def test_keys_are_fetched_and_rotated() -> None:
    async with issuing("old") as issuer:
        source = UrlKeys(issuer.url, 0.02)
        assert source.keys is None
        async with running(source):
            await eventually(lambda: kids(source) == ["old"])
            issuer.names = ["old", "new"]
            await eventually(lambda: kids(source) == ["old", "new"])
            issuer.names = ["new"]
            await eventually(lambda: kids(source) == ["new"])


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_set_that_cannot_be_fetched_leaves_the_keys(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(source_module, "RETRY_FIRST_S", 0.01)
    async with issuing("old") as issuer:
        source = UrlKeys(issuer.url, 0.01)
        async with running(source):
            await eventually(lambda: kids(source) == ["old"])
            issuer.status, asked = status, issuer.asked
            await eventually(lambda: issuer.asked > asked + 2)
            assert kids(source) == ["old"]
            issuer.status, issuer.names = 200, ["new"]
            await eventually(lambda: kids(source) == ["new"])


async def test_for_how_long_keys_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first failure until they can be read again; an address fails until it has answered."""
    monkeypatch.setattr(source_module, "RETRY_FIRST_S", 0.01)
    path = tmp_path / "keys.pem"
    path.write_bytes(pem(private_key()))
    file = FileKeys(str(path), poll_s=0.01)
    async with issuing("old") as issuer, running(file):
        url = UrlKeys(issuer.url, 0.01)

        def since() -> list[float]:
            return [source.failing_since for source in (file, url) if source.failing_since is not None]

        assert since() == [url.failing_since]
        async with running(url):
            await eventually(lambda: since() == [])
            issuer.status = 500
            path.write_bytes(b"hunter2")
            await eventually(lambda: len(since()) == 2)
            first, asked = since(), issuer.asked
            await eventually(lambda: issuer.asked > asked + 2)
            assert since() == first, "since the first time"
            issuer.status = 200
            path.write_bytes(pem(private_key()))
            await eventually(lambda: since() == [])
    made = key_source(GatewaySettings(token_secret=SECRET))
    assert made is not None
    assert made.failing_since is None


async def test_an_unknown_key_brings_one_fetch_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    async with issuing("old") as issuer:
        source = UrlKeys(issuer.url, 3600)
        async with running(source):
            await eventually(lambda: kids(source) == ["old"])
            assert not source.look_again(), "it was just fetched"
            monkeypatch.setattr(source_module, "REFETCH_S", 0.0)
            issuer.names = ["new"]
            assert source.look_again()
            monkeypatch.setattr(source_module, "REFETCH_S", 3600.0)
            assert source.look_again(), "it is on its way"
            await eventually(lambda: kids(source) == ["new"])
            assert not any(source.look_again() for _ in range(100))
            assert issuer.asked == 2


def test_without_keys_there_is_no_source() -> None:
    assert key_source(GatewaySettings()) is None
