"""Every kind of frame that a client can send: what breaks RFC 6455, section 5, closes with its code."""

import random
from collections.abc import Iterable
from itertools import product
from typing import Final, NamedTuple

import pytest

from tests.integration.gateway_harness import RunningGateway
from tests.websocket.raw import COMPRESSED, Frame, Length, Opcode, deflated, frame, opened, outcome_of
from tests.websocket.tables import differences

PING: Final = b'{"op":"ping"}'
"""A message that is right, of less than 126 bytes."""
LONG: Final = PING + b" " * 120
OPCODES: Final = frozenset(Opcode)
CONTROL: Final = frozenset({Opcode.CLOSE, Opcode.PING, Opcode.PONG})
BINARY_CLOSES: Final = "close 1008"
"""Where JSON is spoken, a complete binary message is misuse."""
TAKEN: Final = frozenset({"pong"})
TOO_BIG: Final = frozenset({"close 1009"})
BROKEN: Final = frozenset({"close 1002", "close 1007"})


class Sent(NamedTuple):
    """One frame, sent when a message is or is not `open`, on a connection that does or does not compress."""

    opcode: int
    fin: bool = True
    rsv: int = 0
    masked: bool = True
    form: Length | None = None
    payload: bytes = PING
    compressed: bool = False
    open: bool = False


def expected(sent: Sent) -> set[str]:
    """By the rules of sections 5.1 to 5.5 of RFC 6455 and 6 of RFC 7692."""
    if breaks(sent):
        return {"close 1002"}
    if sent.opcode == Opcode.CLOSE:
        return {"close 1000"}
    return {BINARY_CLOSES} if sent.opcode == Opcode.BINARY and sent.fin else {"pong"}


def breaks(sent: Sent) -> bool:
    """Whether the frame breaks a rule."""
    first_of_a_message = sent.opcode in (Opcode.TEXT, Opcode.BINARY)
    return (
        not sent.masked
        or sent.opcode not in OPCODES
        or (sent.rsv == 4 and not (sent.compressed and first_of_a_message))
        or sent.rsv not in (0, 4)
        or (sent.form is not None and sent.form != Length.least(len(sent.payload)))
        or (sent.opcode in CONTROL and (not sent.fin or len(sent.payload) > 125))
        or (sent.open and first_of_a_message)
        or (not sent.open and sent.opcode == Opcode.CONTINUATION)
    )


def made(sent: Sent) -> bytes:
    payload = b"\x03\xe8" + sent.payload[2:] if sent.opcode == Opcode.CLOSE else sent.payload
    if sent.rsv & 4 and sent.compressed:
        payload = deflated(payload)
    return frame(sent.opcode, payload, fin=sent.fin, rsv=sent.rsv, masked=sent.masked, form=sent.form)


def cases(opcodes: Iterable[int], bits_reserved: Iterable[int]) -> set[Sent]:
    """All combinations of opcode and bits, and of opcode and length."""
    opcodes, flags = list(opcodes), (False, True)
    bits = product(opcodes, flags, bits_reserved, flags, (None,), (PING,), flags, flags)
    lengths = product(opcodes, flags, (0,), (True,), Length, (PING, LONG), (False,), flags)
    return {
        Sent(*case)
        for case in (*bits, *lengths)
        if case[4] is not Length.SHORT or case[5] is PING  # which has no room for more
    }


SOME: Final = cases([*OPCODES, 3, 7, 11, 15], (0, 1, 2, 4, 7))
"""With the first and the last of the opcodes that are reserved, and each reserved bit by itself."""
ALL: Final = cases(range(16), range(8))


@pytest.mark.parametrize("sent", [SOME, pytest.param(ALL, marks=[pytest.mark.deep])], ids=["some", "all"])
async def test_every_frame_is_taken_or_closes_by_the_rules(url: str, sent: set[Sent]) -> None:
    table = {each: expected(each) for each in sent}
    assert len(table) > 900
    assert set().union(*table.values()) == {"pong", BINARY_CLOSES, "close 1000", "close 1002"}

    async def outcome(sent: Sent) -> str:
        before = [frame(Opcode.TEXT, b" ", fin=False)] if sent.open else []
        headers = [COMPRESSED] if sent.compressed else []
        return await outcome_of(url, [*before, made(sent)], *headers)

    assert await differences(table, outcome) == {}


@pytest.mark.parametrize("opcode", range(16))
async def test_a_frame_is_judged_by_its_header(url: str, opcode: int) -> None:
    """A frame that breaks a rule is not waited for: of each, only the first bytes come."""
    heads = {
        "unmasked": frame(opcode, size=100, masked=False),
        "reserved bit": frame(opcode, size=100, rsv=1),
        "long control": frame(opcode | 8, size=126),
        "control in parts": frame(opcode | 8, fin=False, size=100),
        "not shortest": frame(opcode, size=125, form=Length.TWO),
        "not shortest of eight": frame(opcode, size=65_535, form=Length.EIGHT),
        "top bit": frame(opcode, size=1 << 63),
        "all bits": frame(opcode, size=(1 << 64) - 1),
    }
    table = {name: {"close 1002"} for name in heads}
    for name in ("top bit", "all bits"):
        table[name].add("close 1009")  # it is too big as well

    async def outcome(name: str) -> str:
        async with opened(url) as raw:
            await raw.send(heads[name])
            return await raw.outcome()

    assert await differences(table, outcome) == {}


async def test_a_message_in_parts_with_control_frames_between(url: str) -> None:
    parts = [PING[start : start + 1] for start in range(len(PING))]
    sent = [frame(Opcode.TEXT, b"", fin=False)]
    for part in parts:
        sent += [frame(Opcode.CONTINUATION, part, fin=False), frame(Opcode.PING, part), frame(Opcode.PONG)]
    sent.append(frame(Opcode.CONTINUATION))
    async with opened(url) as raw:
        await raw.send(*sent)
        got: list[Frame] = []
        while len(got) < len(parts) + 2:
            answer = await raw.frame()
            assert answer is not None
            got.append(answer)
    texts = [answer.payload for answer in got if answer.opcode == Opcode.TEXT]
    assert [answer.payload for answer in got if answer.opcode == Opcode.PONG] == parts
    assert len(texts) == 2
    assert b'"welcome"' in texts[0]
    assert b'"pong"' in texts[1]


async def test_the_bytes_of_frames_may_come_in_any_pieces(url: str) -> None:
    data = frame(Opcode.TEXT, PING, fin=False) + frame(Opcode.PING, b"x" * 125) + frame(Opcode.CONTINUATION)
    async with opened(url) as raw:
        for start in range(len(data)):
            await raw.send(data[start : start + 1])
        kinds = []
        while "pong" not in kinds:
            answer = await raw.frame()
            assert answer is not None
            if answer.opcode == Opcode.TEXT:
                kinds.append("welcome" if b'"welcome"' in answer.payload else "pong")
            else:
                assert (answer.opcode, answer.payload) == (Opcode.PONG, b"x" * 125)
    assert kinds == ["welcome", "pong"]


WRONG: Final = "80 c080 c1bf e08080 eda080 edbfbf f4908080 f5808080 f888808080 ff c2 e282 f09d84"
"""What no UTF-8 has: lone and missing bytes, forms that are too long, surrogates, beyond U+10FFFF."""


def texts() -> dict[tuple[bytes, ...], set[str]]:
    """Text in parts, right or wrong by Python's decoder, which is strict as RFC 3629 wants."""
    rng = random.Random(3)
    pieces = [b"a", "é".encode(), "€".encode(), "𝄞".encode(), b"\x00", "\U0010ffff".encode()]
    wrong = [bytes.fromhex(digits) for digits in WRONG.split()]
    table: dict[tuple[bytes, ...], set[str]] = {}
    for number in range(300):
        whole = b"".join(rng.choices(pieces, k=6))
        if number % 3:
            at = rng.randrange(len(whole) + 1)
            whole = whole[:at] + rng.choice(wrong) + whole[at:]
        cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(number % 4))
        parts = tuple(whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True))
        try:
            whole.decode()
            table[parts] = {"pong"}
        except UnicodeDecodeError:
            table[parts] = {"close 1007"}
    return table


async def test_text_is_utf8_wherever_it_is_cut(url: str) -> None:
    table = texts()
    assert sum("pong" in outcome for outcome in table.values()) > 50

    async def outcome(parts: tuple[bytes, ...]) -> str:
        last = len(parts) - 1
        frames = [
            frame(Opcode.CONTINUATION if index else Opcode.TEXT, part, fin=index == last)
            for index, part in enumerate(parts)
        ]
        return await outcome_of(url, frames)

    assert await differences(table, outcome) == {}


async def test_bad_text_is_noticed_at_the_part_that_has_it(url: str) -> None:
    async with opened(url) as raw:
        await raw.send(frame(Opcode.TEXT, b"caf\xe9!", fin=False))
        assert await raw.outcome() == "close 1007"


async def test_a_close_frame_between_the_parts_of_a_message_ends_it(url: str) -> None:
    sent = [frame(Opcode.TEXT, b"{", fin=False), frame(Opcode.CLOSE, b"\x03\xe8")]
    assert await outcome_of(url, sent) == "close 1000"


async def test_too_big_is_1009_however_it_comes(url: str, gateway: RunningGateway) -> None:
    limit = gateway.process.settings.message_bytes_max
    blank = b" " * limit
    half = blank[: limit // 2 + 1]
    cases = {
        "claimed": [frame(Opcode.TEXT, size=limit + 1)],
        "claimed by far": [frame(Opcode.TEXT, size=1 << 62)],
        "parts": [frame(Opcode.TEXT, half, fin=False), frame(Opcode.CONTINUATION, half)],
        "inflated": [frame(Opcode.TEXT, deflated(blank + b" "), rsv=4)],
        "inflated parts": [
            frame(Opcode.TEXT, deflated(blank + b" ")[:100], rsv=4, fin=False),
            frame(Opcode.CONTINUATION, deflated(blank + b" ")[100:]),
        ],
    }

    async def outcome(name: str) -> str:
        return await outcome_of(url, cases[name], COMPRESSED)

    assert await differences(dict.fromkeys(cases, TOO_BIG), outcome) == {}


async def test_what_is_compressed_may_be_split_stored_and_final(url: str) -> None:
    """The examples of RFC 7692, section 7.2.3, and those that cannot be inflated."""
    hello = bytes.fromhex("f248cdc9c90700")
    cases = {
        "one frame": [frame(Opcode.TEXT, hello, rsv=4)],
        "two frames": [
            frame(Opcode.TEXT, hello[:3], rsv=4, fin=False),
            frame(Opcode.CONTINUATION, hello[3:]),
        ],
        "no compression": [frame(Opcode.TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4)],
        "final block": [frame(Opcode.TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4)],
        "two blocks": [frame(Opcode.TEXT, bytes.fromhex("f248050000 00ffff cac9c90700"), rsv=4)],
        "nothing": [frame(Opcode.TEXT, b"\x00", rsv=4)],
        "plain after compressed": [frame(Opcode.TEXT, hello, rsv=4), frame(Opcode.TEXT, b"Hello")],
    }
    broken = {
        "no deflate": [frame(Opcode.TEXT, b"\xff\xff\xff", rsv=4)],
        "a distance before the beginning": [frame(Opcode.TEXT, bytes.fromhex("0226860c00"), rsv=4)],
    }

    async def outcome(name: str) -> str:
        return await outcome_of(url, (cases | broken)[name], COMPRESSED)

    table = dict.fromkeys(cases, TAKEN) | dict.fromkeys(broken, BROKEN)
    assert await differences(table, outcome) == {}
