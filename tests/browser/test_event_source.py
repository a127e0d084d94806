"""The `EventSource` of a browser on an event stream: its messages, and how it comes back by itself."""

from typing import Any

import pytest

from tests.browser.chromium import launched, opened
from tests.integration.gateway_harness import RunningGateway, served
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TIMEOUT_S = 30.0
OPEN = """() => {
  window.source = new EventSource("/v1/stream?symbols=AAA&depth=5");
  window.messages = [];
  window.heartbeats = 0;
  source.onmessage = (event) => messages.push({ ...JSON.parse(event.data), lastEventId: event.lastEventId });
  source.addEventListener("heartbeat", () => { heartbeats += 1; });
}"""


def cut(gateway: RunningGateway) -> None:
    """Cut off every stream, as a lost network does."""
    for stream in tuple(gateway.process.streams):
        gateway.loop.call_soon_threadsafe(stream.transport.abort)


async def test_it_gets_the_book_and_resumes_when_its_connection_is_lost(redis_url: str, prefix: str) -> None:
    async with (
        served(redis_url, prefix, heartbeat_ms=200) as (gateway, ingestor),
        launched() as browser,
        opened(browser) as page,
    ):
        await page.goto(gateway.url)
        await page.evaluate(OPEN)

        async def messages(kind: str) -> list[dict[str, Any]]:
            found = await page.evaluate("(kind) => messages.filter(({ type }) => type === kind)", kind)
            return list(found)

        async def last(kind: str, seq: int) -> dict[str, Any] | None:
            return next((each for each in await messages(kind) if each["seq"] == seq), None)

        [snapshot] = await eventually(lambda: messages("snapshot"), TIMEOUT_S)
        assert snapshot["lastEventId"] == f"AAA:{snapshot['seq']}:{snapshot['digest']}"
        seq = await ingestor.publish("AAA", {100: 77})
        await eventually(lambda: last("delta", seq), TIMEOUT_S, "the change is there")
        await eventually(lambda: page.evaluate("heartbeats > 0"), TIMEOUT_S, "heartbeats are events")

        cut(gateway)
        await eventually(lambda: not gateway.process.streams)
        await ingestor.publish("AAA", {100: 78})
        seq = await ingestor.publish("AAA", {100: 79})
        merged = await eventually(lambda: last("delta", seq), TIMEOUT_S, "it came back by itself")
        assert merged is not None
        assert merged["merged"] == 2
        assert [each["resumed"] for each in await messages("subscribed")] == [False, True]
        assert len(await messages("snapshot")) == 1
