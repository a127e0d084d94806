"""Traces as a collector gets them: an entry from `XADD` to the write to a socket, out of two processes."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from depthcast.client.client import connect as follow
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import execute
from depthcast.shared.trace_identity import identity_of
from tests.environment import without_settings
from tests.redis_client import patient
from tests.waiting import eventually

PARTS = {"input", "publish", "read", "write"}
NS_PER_MS = 1_000_000
END_S = 20.0
NOBODY = "http://127.0.0.1:1"
"""Where no collector listens."""
SOON_NS = 60 * 1_000 * NS_PER_MS


class Span(NamedTuple):
    """A span as it came, with the name of its service; `parent`: empty if it has none."""

    service: str
    name: str
    trace: bytes
    span: bytes
    parent: bytes
    began: int
    ended: int
    about: dict[str, Any]


@dataclass
class Collector:
    """Takes OTLP over HTTP. `requests`: how many came; `spans`: by trace."""

    url: str = ""
    requests: int = 0
    spans: dict[bytes, list[Span]] = field(default_factory=dict)

    async def take(self, request: web.Request) -> web.Response:
        """Note what is in a request, as `POST /v1/traces` has it."""
        assert request.content_type == "application/x-protobuf"
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.requests += 1
        for resource in sent.resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                assert scope.scope.name == "depthcast"
                for each in scope.spans:
                    about = {
                        item.key: getattr(item.value, item.value.WhichOneof("value") or "")
                        for item in each.attributes
                    }
                    span = Span(
                        names["service.name"], each.name, each.trace_id, each.span_id, each.parent_span_id,
                        each.start_time_unix_nano, each.end_time_unix_nano, about,
                    )  # fmt: skip
                    self.spans.setdefault(each.trace_id, []).append(span)
        body = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", collector.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


@asynccontextmanager
async def process(module: str, folder: Path, endpoint: str, **settings: object) -> AsyncIterator[None]:
    """An ingestor or a gateway that sends its spans to `endpoint`, often; it ends cleanly and in time."""
    variables = {f"DEPTHCAST_{name.upper()}": str(value) for name, value in settings.items()}
    variables |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with (folder / f"{module}.log").open("wb") as log:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"depthcast.{module}",
            cwd=folder,
            env=without_settings() | variables,
            stdout=log,
            stderr=log,
        )
    try:
        yield
        running.terminate()
        async with asyncio.timeout(END_S):
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def url_of(folder: Path) -> str:
    """The gateway's address, once it has printed it."""

    def found() -> str:
        _, _, rest = (folder / "gateway.log").read_text().partition("gateway listening on ")
        return rest.split()[0] if "\n" in rest else ""

    return await eventually(found, message="the gateway listens")


@asynccontextmanager
async def deployment(
    redis_url: str, prefix: str, folder: Path, share: float, *, heard: bool = True
) -> AsyncIterator[tuple[Collector, str]]:
    """An ingestor and a gateway with a client of the book AAA; yields the collector and an entry's ID.

    `heard`: the collector listens.
    """
    (folder / "instruments.toml").write_text("[AAA]\n", encoding="utf-8")
    common = {"redis_url": redis_url, "prefix": prefix, "trace_share": share}
    instruments = folder / "instruments.toml"
    async with (
        collecting() as collector,
        process("ingestor", folder, collector.url if heard else NOBODY, instruments=instruments, **common),
        process("gateway", folder, collector.url if heard else NOBODY, port=0, **common),
        aclosing(patient(redis_url)) as redis,
        follow(await url_of(folder)) as client,
    ):
        events = DeploymentKeys(prefix).partition(0).events
        await execute(redis, "XADD", events, "*", "AAA", '[["add","bid",1,1]]')
        await eventually(lambda: subscribed(client.subscribe("AAA")), message="the book is there")
        await anext(client)
        src = (await execute(redis, "XADD", events, "*", "AAA", '[["add","bid",2,1]]')).decode()
        async for update in client:
            if 2 in update.book.bids.levels:
                break
        yield collector, src


async def subscribed(attempt: Any) -> bool:
    try:
        await attempt
    except Exception:  # noqa: BLE001 - there is no book yet
        return False
    return True


async def test_one_trace_goes_from_the_input_to_the_socket(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    async with deployment(redis_url, prefix, tmp_path, 1.0) as (collector, src):
        identity = identity_of(prefix, 0, src, 1.0)
        assert identity is not None
        trace, root = identity.trace_id.to_bytes(16, "big"), identity.span_id.to_bytes(8, "big")
        await eventually(lambda: len(collector.spans.get(trace, ())) == 5, message="all five spans came")
        spans = {span.name: span for span in collector.spans[trace]}
    event = spans.pop("event")
    assert (event.span, event.parent) == (root, b"")
    assert spans.keys() == PARTS
    assert {span.parent for span in spans.values()} == {root}
    assert len({span.span for span in spans.values()} | {root}) == 5
    assert Counter(span.service for span in (event, *spans.values())) == {
        "depthcast-ingestor": 3,
        "depthcast-gateway": 2,
    }
    for span in (event, *spans.values()):
        assert span.about == {"depthcast.partition": 0, "depthcast.src": src}
        assert span.began <= span.ended
    added = int(src.partition("-")[0]) * NS_PER_MS
    assert event.began == spans["input"].began == added, "it begins at XADD"
    assert spans["input"].ended == spans["publish"].began
    assert spans["publish"].ended == event.ended
    assert spans["read"].ended == spans["write"].began
    assert added <= spans["write"].ended < added + SOON_NS, "it ends with the write to the socket"


async def test_where_nothing_is_sampled_a_collector_hears_nothing(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """The client has the change, and both processes have ended: nothing is on its way any more."""
    async with deployment(redis_url, prefix, tmp_path, 0.0) as (collector, _):
        pass
    assert (collector.requests, collector.spans) == (0, {})


async def test_nobody_waits_for_a_collector(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """The client gets every change, and both processes end in time."""
    async with deployment(redis_url, prefix, tmp_path, 1.0, heard=False) as (collector, _):
        pass
    assert collector.requests == 0
