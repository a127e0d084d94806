"""Tokens at a real gateway: every way to present one, what it allows everywhere, and when it ends."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from depthcast import ClientError, connect
from depthcast.client import client as client_module
from depthcast.gateway.protocol.grant import EVERYTHING
from depthcast.gateway.runtime.supervisor import Supervisor
from depthcast.gateway.runtime.worker import run_alone
from depthcast.shared.revocation import SUBJECT, TOKEN_ID, member
from depthcast.shared.runtime.redis import connect as connect_redis
from depthcast.shared.runtime.revoked_tokens import allow_again, list_revoked, read_revoked, revoke
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import GatewaySettings
from tests.integration.gateway_harness import (
    Client,
    FakeIngestor,
    RunningGateway,
    client_of,
    code_of,
    running_gateway,
    served,
)
from tests.tokens import pem, private_key, signed_by_hand, token
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG = token(key=private_key("EdDSA", "theirs"))
METRICS = token(rights={"metrics": True})


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.pem"
    path.write_bytes(pem(private_key()) + pem(private_key("ES256")))
    return str(path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place(
    redis_server: str, module_prefix: str, keys_file: str
) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    """One gateway for all tests that change no setting."""
    settings = {
        "token_keys": keys_file,
        "drain_timeout_s": 0.1,
        "token_warning_s": 2.0,
        "auth_timeout_s": 2.0,
    }
    async with served(redis_server, module_prefix, **settings) as both:
        await eventually(lambda: both[0].process.access._revocations.revoked is not None)
        yield both


@pytest.fixture
def gateway(place: tuple[RunningGateway, FakeIngestor]) -> RunningGateway:
    return place[0]


@pytest.fixture
def ingestor(place: tuple[RunningGateway, FakeIngestor]) -> FakeIngestor:
    return place[1]


def bearer(made: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {made}"}}


async def get(gateway: RunningGateway, path: str, made: str | None = None) -> tuple[int, Any]:
    headers = {} if made is None else {"Authorization": f"Bearer {made}"}
    async with aiohttp.ClientSession() as http, http.get(gateway.url + path, headers=headers) as answer:
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if answer.content_type == "text/event-stream":
            return answer.status, None
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


# --- how a token is presented -------------------------------------------------------------------------------


async def test_in_a_header(gateway: RunningGateway) -> None:
    async with client_of(gateway, **bearer(token())) as client:
        assert client.messages[0]["auth"] == "token"
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot", symbol="AAA")


async def test_in_the_address(gateway: RunningGateway) -> None:
    from websockets.asyncio.client import connect as open_websocket

    async with open_websocket(f"{gateway.ws_url}?token={token()}") as connection:
        client = Client(connection)
        assert (await client.receive())["auth"] == "token"


async def test_as_a_subprotocol(gateway: RunningGateway) -> None:
    from websockets.asyncio.client import connect as open_websocket

    offered = [Subprotocol("depthcast.v1.msgpack"), Subprotocol(f"depthcast.token.{token()}")]
    async with open_websocket(gateway.ws_url, subprotocols=offered) as connection:
        assert connection.subprotocol == "depthcast.v1.msgpack"
        client = Client(connection)
        assert (await client.receive())["auth"] == "token"


async def test_in_the_first_message(gateway: RunningGateway) -> None:
    async with client_of(gateway) as client:
        assert client.messages[0]["auth"] == "required"
        await client.send(op="subscribe", symbols=["AAA"], id=1)
        assert (await client.receive())["code"] == "unauthorized"
        await client.send(op="auth", token=token(), id=2)
        assert (await client.receive())["type"] == "authenticated"
        await client.send(op="subscribe", symbols=["AAA"], id=3)
        await client.until("snapshot", symbol="AAA")


async def test_in_two_places(gateway: RunningGateway) -> None:
    status, body = await get(gateway, f"/v1/symbols?token={token()}x", token())
    assert (status, body["error"]["code"]) == (400, "bad_request")


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/symbols", "/v1/books/AAA", "/v1/stream?symbols=AAA"])
@pytest.mark.parametrize(
    ("made", "status"),
    [
        (None, 401),
        (WRONG, 401),
        ("hunter2", 401),
        (signed_by_hand({"alg": "none"}, {}), 401),
        (token(aud="chat"), 401),
        (token(exp=1), 401),
        (token(["AAA"]), 200),
    ],
    ids=["none", "wrong key", "no token", "alg none", "wrong audience", "expired", "good"],
)
async def test_by_http(gateway: RunningGateway, path: str, made: str | None, status: int) -> None:
    found, body = await get(gateway, path, made)
    assert found == status
    assert status == 200 or body["error"]["code"] == "unauthorized"
    assert not made or made not in str(body)


@pytest.mark.parametrize("made", [WRONG, "hunter2", "x" * 10_000], ids=["wrong key", "no token", "huge"])
async def test_by_a_handshake(gateway: RunningGateway, made: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with gateway.connect(**bearer(made)):
            pass
    assert refused.value.response.status_code == 401
    assert made not in str(refused.value.response.body)


async def test_by_the_first_message(gateway: RunningGateway) -> None:
    async with client_of(gateway) as client:
        await client.send(op="auth", token=WRONG, id=1)
        error = await client.receive()
        assert (error["code"], error["id"]) == ("unauthorized", 1)
        assert await code_of(client) == 4401
        assert client.connection.close_reason == "unauthorized; get another token"


async def test_no_token_in_time(gateway: RunningGateway) -> None:
    async with client_of(gateway) as client:
        assert await code_of(client) == 4401


@pytest.mark.parametrize("path", ["/", "/web/depthcast.js", "/healthz", "/readyz"])
async def test_what_has_no_books_needs_no_token(gateway: RunningGateway, path: str) -> None:
    assert (await get(gateway, path))[0] == 200


# --- what is allowed ----------------------------------------------------------------------------------------


async def test_symbols_by_every_way(gateway: RunningGateway) -> None:
    made = token(["B*"])
    status, listed = await get(gateway, "/v1/symbols", made)
    assert (status, [row["symbol"] for row in listed]) == (200, ["BBB"])
    for path in ("/v1/books/AAA", "/v1/books/NOPE", "/v1/stream?symbols=AAA"):
        status, body = await get(gateway, path, made)
        assert (status, body["error"]["code"]) == (403, "forbidden")
    assert (await get(gateway, "/v1/books/BBB", made))[0] == 200
    async with client_of(gateway, **bearer(made)) as client:
        await client.send(op="subscribe", symbols=["*"], id=1)
        await client.send(op="ping", id=2)
        await client.until("pong")
        named = {message["symbol"] for message in client.messages if "symbol" in message}
        assert named == {"BBB"}


async def test_a_stream_has_what_is_allowed_of_its_list(gateway: RunningGateway) -> None:
    url = f"{gateway.url}/v1/stream?symbols=AAA,BBB&token={token(['BBB'])}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        text = ""
        async with asyncio.timeout(30):
            while '"snapshot","symbol":"BBB"' not in text:
                text += (await answer.content.readany()).decode()
    assert '"code":"forbidden"' in text
    assert '"subscribed","symbol":"AAA"' not in text


@pytest.mark.parametrize("query", ["depth=10", "depth=0", "depth=5&group=10"])
async def test_a_greatest_depth_by_http(gateway: RunningGateway, query: str) -> None:
    made = token(rights={"depth_max": 5})
    assert (await get(gateway, "/v1/books/AAA?depth=5", made))[0] == 200
    assert (await get(gateway, f"/v1/books/AAA?{query}", made))[0] == 403
    assert (await get(gateway, f"/v1/stream?symbols=AAA&{query}", made))[0] == 403


async def test_connections_of_a_subject_are_bounded(gateway: RunningGateway) -> None:
    made = [token(sub="few", jti=name, rights={"connections_max": 1}) for name in "abc"]
    async with client_of(gateway, **bearer(made[0])):
        async with gateway.connect(**bearer(made[1])) as second:
            assert await code_of(Client(second)) == 4429
        async with client_of(gateway) as third:
            await third.send(op="auth", token=made[2])
            assert (await third.receive())["code"] == "rate_limited"
            assert await code_of(third) == 4429
        async with client_of(gateway, **bearer(token(sub="other"))):
            pass
    await eventually(lambda: "few" not in gateway.process.admission.tokens.counts)


# --- when it ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SUBJECT, TOKEN_ID])
async def test_a_revoked_token_ends_its_connections(
    gateway: RunningGateway, ingestor: FakeIngestor, kind: str
) -> None:
    name, key = f"mallory {kind}", ingestor.keys.revoked
    made = token(sub=name, jti=name)
    async with client_of(gateway, **bearer(made)) as client, client_of(gateway, **bearer(token())) as other:
        await client.send(op="subscribe", symbols=["AAA"])
        await client.until("snapshot")
        assert await revoke(ingestor.redis, key, member(kind, name), 60)
        error = await client.until("error")
        assert (error["code"], error["message"]) == ("unauthorized", "the token was revoked")
        assert await code_of(client) == 4401
        assert (await get(gateway, "/v1/symbols", made))[0] == 401
        await other.send(op="ping", id=1)
        await other.until("pong", id=1)
    [entry] = [entry for entry in await list_revoked(ingestor.redis, key) if entry.member.endswith(name)]
    assert 50 < entry.left_s <= 60
    assert await allow_again(ingestor.redis, key, member(kind, name))
    async with asyncio.timeout(30):
        while (await get(gateway, "/v1/symbols", made))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def expires_us(made: str) -> int:
    exp: int = jwt.decode(made, options={"verify_signature": False})["exp"]
    return exp * 1_000_000


async def test_revocations_end_by_the_clock_of_the_server(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, now = f"{prefix}:revoked", time.time
    async with connect_redis(redis_url) as client:
        await revoke(client, key, member(SUBJECT, "mallory"), 60)
        for wrong_s in (-3600, 3600):
            monkeypatch.setattr(time, "time", lambda: now() + wrong_s)  # noqa: B023
            assert (await read_revoked(client, key)).subjects == {"mallory"}
            [entry] = await list_revoked(client, key)
            assert 50 < entry.left_s <= 60


@pytest.mark.parametrize("wrong", [(), (WRONG,)], ids=["at once", "after one that is refused"])
async def test_a_client_refreshes_its_token_and_keeps_its_book(
    gateway: RunningGateway,
    ingestor: FakeIngestor,
    monkeypatch: pytest.MonkeyPatch,
    wrong: tuple[str, ...],
) -> None:
    monkeypatch.setattr(client_module, "REFRESH_AGAIN_S", 0.05)
    made: list[str] = []
    between = list(wrong)

    async def fresh() -> str:
        if made and between:
            return between.pop()
        made.append(token(exp=int(time.time()) + (2 if not made else 600)))
        return made[-1]

    async with connect(gateway.url, token=fresh) as client, asyncio.timeout(30):
        await client.subscribe("AAA")
        await client.wait_for("AAA")
        reading = asyncio.create_task(client.follow())
        await eventually(lambda: len(made) == 2)
        [session] = [one for one in gateway.process.core.sessions if one.subscriptions]
        await eventually(lambda: (session.credentials.grant or EVERYTHING).expires_us != expires_us(made[0]))
        seq = await ingestor.publish("AAA", {96: 9 + len(wrong)})
        await eventually(lambda: client.seq("AAA") == seq)
        reading.cancel()
        assert (client.counters.reconnects, client.counters.snapshots) == (0, 1)
        assert not between


async def test_the_python_client_is_told(gateway: RunningGateway) -> None:
    with pytest.raises(ClientError) as refused:
        async with connect(gateway.url, token=WRONG):
            pass
    assert refused.value.code == "unauthorized"
    assert WRONG not in str(refused.value)


# --- other settings -----------------------------------------------------------------------------------------


async def test_anonymous_by_name_beside_tokens(redis_url: str, prefix: str, keys_file: str) -> None:
    async with served(redis_url, prefix, token_keys=keys_file, anonymous=True) as (gateway, _):
        await eventually(lambda: gateway.process.access._revocations.revoked is not None)
        assert (await get(gateway, "/v1/symbols"))[0] == 200
        assert (await get(gateway, "/v1/symbols", WRONG))[0] == 401, "a wrong token is never taken for none"
        async with client_of(gateway) as client:
            assert "auth" not in client.messages[0]


async def test_until_revocations_are_known_no_token_is_taken(keys_file: str) -> None:
    with running_gateway("redis://127.0.0.1:1/0", "p", token_keys=keys_file) as gateway:
        status, body = await get(gateway, "/v1/symbols", token())
        assert (status, body["error"]["code"]) == (503, "unavailable")


async def test_for_how_long_revocations_could_not_be_read(
    redis_url: str, prefix: str, keys_file: str
) -> None:
    """A key of another type stands for every reason: the list stays as it was, and a metric says so."""
    async with served(redis_url, prefix, token_keys=keys_file) as (gateway, ingestor):
        name = "depthcast_gateway_revocations_failing_seconds"

        def failing_s() -> float:
            gateway.process.publish_metrics()
            return gateway.process.metrics.registry.get_sample_value(name) or 0.0

        await eventually(lambda: gateway.process.access._revocations.revoked is not None)
        assert failing_s() == 0
        await ingestor.redis.set(ingestor.keys.revoked, "x")
        await eventually(lambda: failing_s() > 0)
        before = failing_s()
        await eventually(lambda: failing_s() > before)
        assert (await get(gateway, "/v1/symbols", token()))[0] == 200
        await ingestor.redis.delete(ingestor.keys.revoked)
        await eventually(lambda: failing_s() == 0)


@asynccontextmanager
async def printing(
    run: Callable[[Stop], Awaitable[None]], capsys: pytest.CaptureFixture[str], *before: str
) -> AsyncIterator[list[str]]:
    """Run until the end of the block; yields the words that were printed behind each text of `before`."""
    stop, said = Stop(), ""

    async def running() -> None:
        await run(stop)

    def printed() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        assert not task.done(), task
        return all(text in said for text in before)

    task = asyncio.create_task(running())
    try:
        await eventually(printed)
        yield [said.partition(text)[2].split()[0] for text in before]
    finally:
        stop.set()
        await asyncio.wait([task], timeout=30)
    await task


async def asked(url: str, made: str | None = None) -> tuple[int, str]:
    headers = {} if made is None else {"Authorization": f"Bearer {made}"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def answered(url: str, made: str) -> bool:
    """Whether a token can be checked there by now."""
    return (await asked(url, made))[0] != 503


async def test_metrics_beyond_loopback_want_a_token(
    redis_url: str, prefix: str, keys_file: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("depthcast.gateway.runtime.worker.is_loopback", lambda _host: False)
    settings = GatewaySettings(redis_url=redis_url, prefix=prefix, port=0, admin_port=0, token_keys=keys_file)
    async with printing(partial(run_alone, settings), capsys, "admin listening on ") as [admin]:
        await eventually(partial(answered, f"{admin}/metrics", METRICS))
        assert (await asked(f"{admin}/metrics", METRICS))[0] == 200
        assert (await asked(f"{admin}/metrics", token()))[0] == 403
        assert (await asked(f"{admin}/metrics"))[0] == 401
        assert (await asked(f"{admin}/healthz"))[0] == 200


async def test_what_a_supervisor_refuses_is_counted_beside_what_its_workers_refuse(
    redis_url: str, prefix: str, keys_file: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("depthcast.gateway.runtime.supervisor.is_loopback", lambda _host: False)
    settings = GatewaySettings(
        redis_url=redis_url, prefix=prefix, port=0, admin_port=0, workers=2, token_keys=keys_file
    )

    async def counted() -> bool:
        status, text = await asked(f"{admin}/metrics", METRICS)
        assert status == 200
        found = re.findall(
            r'^depthcast_gateway_unauthorized_total\{type="(\w+)"\} (\S+)$', text, re.MULTILINE
        )
        assert len(dict(found)) == len(found), "each sum is there once"
        return dict(found) == {"missing": "2.0", "refused": "2.0", "expired": "0.0", "revoked": "0.0"}

    said = ("admin listening on ", "gateway listening on ")
    async with printing(Supervisor(settings).run, capsys, *said) as [admin, url]:
        await eventually(partial(answered, f"{admin}/metrics", METRICS))
        await eventually(partial(answered, f"{url}/v1/symbols", WRONG))
        for path in (f"{admin}/metrics", f"{url}/v1/symbols"):
            assert (await asked(path))[0] == 401
        assert (await asked(f"{admin}/metrics", WRONG))[0] == 401
        await eventually(counted, message="the sums of the supervisor and of its workers")
