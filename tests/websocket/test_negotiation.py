"""permessage-deflate: each offer, and the answer that RFC 7692, section 7.1, wants of this gateway."""

import re
from itertools import product
from typing import Final

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.integration.gateway_harness import RunningGateway
from tests.websocket.raw import HEADERS, connected, request
from tests.websocket.tables import differences

NAME: Final = "permessage-deflate"
FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
WINDOWS: Final = ("server_max_window_bits", "client_max_window_bits")
PLAIN: Final = f"{NAME}; {'; '.join(FLAGS)}"
WIDE: Final = f"{PLAIN}; server_max_window_bits=15"
NONE: Final = "none"
REFUSED: Final = "400"

Offers = tuple[str, ...]
"""The values of the headers, each a list of offers."""
TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
PARAMETER: Final = re.compile(rf"({TOKEN})\s*(?:=\s*({TOKEN}|\"(?:{TOKEN})\"))?")


def answer(offers: Offers) -> str:
    """What the gateway answers: the first offer it can accept, if all of them can be parsed."""
    accepted = []
    for offer in (part for header in offers for part in header.split(",") if part.strip()):
        name, *parameters = (part.strip() for part in offer.split(";"))
        matches = [PARAMETER.fullmatch(parameter) for parameter in parameters]
        if not re.fullmatch(TOKEN, name) or None in matches:
            return REFUSED
        found = [(match[1], match[2]) for match in matches if match]
        if name == NAME and acceptable(found):
            accepted.append(WIDE if "server_max_window_bits" in dict(found) else PLAIN)
    return accepted[0] if accepted else NONE


def acceptable(parameters: list[tuple[str, str | None]]) -> bool:
    """Valid by section 7.1, and without a smaller window than the frames that all clients share."""
    given = {name: value and value.strip('"') for name, value in parameters}
    bits = {str(number) for number in range(8, 16)}
    return (
        len(given) == len(parameters)
        and given.keys() <= {*FLAGS, *WINDOWS}
        and all(given[name] is None for name in FLAGS if name in given)
        and given.get("server_max_window_bits", "15") == "15"
        and (given.get("client_max_window_bits") or "15") in bits
    )


VALUES: Final = ("", *(f"={value}" for value in (*range(6, 17), "08", "015", "+9", "9.0", "x", "-1", "150")))
QUOTED: Final = ('="15"', '="9"', '="x"', '=""', "= 15", '=" 15"')


def offered() -> set[Offers]:
    """Every parameter with every value, in every pair and twice; several offers, in one header and in two."""
    single = [f"{name}{value}" for name in (*FLAGS, *WINDOWS, "another") for value in (*VALUES, *QUOTED)]
    few = [f"{name}{value}" for name in (*FLAGS, *WINDOWS) for value in ("", "=15", "=10")]
    pairs = [f"{one}; {other}" for one, other in product(few, few)]
    all_four = ["; ".join(parts) for parts in product(*[(f"{name}=15", name) for name in (*FLAGS, *WINDOWS)])]
    lists = [f"{NAME}; {parameters}" for parameters in (*single, *pairs, *all_four)]
    first = (f"{NAME}; server_max_window_bits=10", f"{NAME}; another", "another", NAME, f"{NAME}; a=b; c")
    second = (
        NAME,
        f"{NAME}; server_max_window_bits=15",
        f"{NAME}; client_max_window_bits",
        "x-webkit-deflate-frame",
    )
    several = [f"{one}, {other}" for one, other in product(first, second)]
    forms = [
        NAME,
        f"{NAME};server_no_context_takeover",
        f"{NAME} ; server_no_context_takeover ",
        f"{NAME};",
        f"{NAME}; =1",
        f"; {NAME}",
        f", {NAME},, ",
        f"{NAME}; server max",
        "PERMESSAGE-DEFLATE",
        "permessage-bzip2",
    ]
    return {(), *((value,) for value in (*lists, *several, *forms)), *product(first, second)}


async def answer_of(url: str, offers: Offers) -> str:
    headers = [*HEADERS, *(("Sec-WebSocket-Extensions", value) for value in offers)]
    async with connected(url) as raw:
        await raw.send(request(headers))
        response = await raw.response()
    assert response is not None
    if response.status != 101:
        return str(response.status)
    values = response.values("Sec-WebSocket-Extensions")
    assert len(values) <= 1
    return normal(values[0]) if values else NONE


def normal(value: str) -> str:
    """An answer with its parameters in the order of `PLAIN` and `WIDE`."""
    name, *parameters = (part.strip() for part in value.split(";"))
    order = {parameter: place for place, parameter in enumerate((*FLAGS, *WINDOWS))}
    return "; ".join([name, *sorted(parameters, key=lambda parameter: order[parameter.split("=")[0]])])


async def test_every_offer_has_its_answer(url: str) -> None:
    table = {offers: {answer(offers)} for offers in offered()}
    assert len(table) > 250
    kinds = {next(iter(answers)) for answers in table.values()}
    assert kinds == {PLAIN, WIDE, NONE, REFUSED}

    async def outcome(offers: Offers) -> str:
        return await answer_of(url, offers)

    assert await differences(table, outcome) == {}


@pytest.mark.parametrize("server_bits", [None, 9, 14, 15])
@pytest.mark.parametrize("client_bits", [None, True, 9, 15])
async def test_the_library_websockets_takes_the_answer(
    gateway: RunningGateway, server_bits: int | None, client_bits: int | bool | None
) -> None:
    """It checks the answer against its offer, and refuses what RFC 7692 does."""
    offer = ClientPerMessageDeflateFactory(
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    async with connect(gateway.ws_url, compression=None, extensions=[offer]) as connection:
        assert bool(connection.protocol.extensions) == (server_bits in (None, 15))
        assert '"welcome"' in str(await connection.recv())


@pytest.mark.parametrize("bits", [9, 14, 15])
async def test_aiohttp_takes_the_answer(gateway: RunningGateway, bits: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(gateway.ws_url, compress=bits) as socket,
    ):
        assert bool(socket.compress) == (bits == 15)
        assert (await socket.receive_json())["type"] == "welcome"
