"""Close frames of clients: every code, every kind of body, and what comes after one."""

import asyncio
from typing import Final

import pytest

from tests.integration.gateway_harness import RunningGateway
from tests.websocket.raw import ALIVE, Frame, Opcode, Raw, closing, frame, opened
from tests.websocket.tables import differences

REGISTERED: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
"""Codes below 3000 that a close frame may carry: RFC 6455, section 7.4.1, and IANA's registry."""


def expected(code: int) -> set[str]:
    """A code that may be sent is echoed; any other one is a protocol error (RFC 6455, section 7.4)."""
    return {f"close {code if code in REGISTERED or 3000 <= code < 5000 else 1002}"}


async def answer_to(url: str, *sent: bytes) -> str:
    async with opened(url) as raw:
        await raw.send(*sent)
        return await raw.outcome()


async def frames(raw: Raw) -> list[Frame]:
    """All frames up to the end."""
    got = []
    while (one := await raw.frame()) is not None:
        got.append(one)
    return got


NEAR: Final = 40
EDGES: Final = (0, 1024, 3000, 4000, 4400, 5000, *(1 << bit for bit in range(13, 17)))
ALL_CODES: Final = frozenset({*range(5001), *(1 << bit for bit in range(13, 16)), 65_535})
SOME_CODES: Final = frozenset(
    code for code in ALL_CODES if code % NEAR == 0 or any(abs(code - edge) <= NEAR for edge in EDGES)
)
"""All codes near an edge, and some of the others."""


@pytest.mark.parametrize(
    "codes", [SOME_CODES, pytest.param(ALL_CODES, marks=[pytest.mark.deep])], ids=["some", "all"]
)
async def test_every_code(url: str, codes: frozenset[int]) -> None:
    assert codes > REGISTERED
    table = {code: expected(code) for code in codes}
    assert await differences(table, lambda code: answer_to(url, closing(code))) == {}


async def test_every_length_of_a_body(url: str) -> None:
    """None, a single byte, a reason of any length: the longest that a control frame holds, and one more."""
    table = {size: {"close 3000"} for size in range(2, 126)}
    table |= {0: {"close", "close 1000"}, 1: {"close 1002"}, 126: {"close 1002"}}
    body = b"\x0b\xb8" + b"r" * 124
    assert await differences(table, lambda size: answer_to(url, frame(Opcode.CLOSE, body[:size]))) == {}


async def test_a_reason_is_utf8(url: str) -> None:
    reasons = {
        b"bye": True,
        "au revoir, à bientôt €𝄞".encode(): True,
        b"\x00": True,
        b"\x80": False,
        b"\xc0\x80": False,
        b"\xed\xa0\x80": False,
        b"\xf4\x90\x80\x80": False,
        "€".encode()[:2]: False,
        b"caf\xe9": False,
    }
    table = {reason: {"close 1000" if right else "close 1007"} for reason, right in reasons.items()}
    assert await differences(table, lambda reason: answer_to(url, closing(1000, reason))) == {}


async def test_nothing_is_done_after_a_close_frame(url: str, gateway: RunningGateway) -> None:
    """Not even a ping is answered: the close frame is the last that comes, and the gateway hangs up."""
    text = frame(Opcode.TEXT, b'{"op":"ping"}')
    async with opened(url) as raw:
        await raw.send(closing(1000), ALIVE, text, closing(3000), frame(3), b"\x00" * 5000)
        assert await raw.outcome() == "close 1000"


async def test_the_gateway_hangs_up_first(url: str, gateway: RunningGateway) -> None:
    """At once, not only after `close_linger_s`."""
    async with opened(url) as raw:
        await raw.send(closing(1001))
        async with asyncio.timeout(gateway.process.settings.close_linger_s / 2):
            assert (await frames(raw))[-1].opcode == Opcode.CLOSE


async def test_a_failed_connection_is_read_no_further_and_ends(url: str, gateway: RunningGateway) -> None:
    """The close frame arrives although megabytes are still on their way, and the client never answers."""
    async with opened(url) as raw:
        await raw.send(frame(3), *[frame(Opcode.TEXT, b'{"op":"ping"}')] * 50_000)
        async with asyncio.timeout(gateway.process.settings.close_linger_s / 2):
            last = (await frames(raw))[-1]
        assert (last.opcode, last.payload[:2]) == (Opcode.CLOSE, b"\x03\xea")
