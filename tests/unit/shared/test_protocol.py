"""Client, gateway, JavaScript client and document have the same version of the contract."""

import re
from pathlib import Path

from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.protocol import PROTOCOL, SUBPROTOCOLS, WEBSOCKET_PATH

ROOT = Path(__file__).parents[3]


def test_the_gateway_offers_the_subprotocols() -> None:
    assert {Encoding.JSON.value, Encoding.MSGPACK.value} == set(SUBPROTOCOLS.values())


def test_the_javascript_client_speaks_it() -> None:
    for encoding, name in (("json", "encoding.js"), ("msgpack", "msgpack.js")):
        module = (ROOT / "web" / name).read_text(encoding="utf-8")
        assert re.findall(r'"(depthcast\.v\d+\.\w+)"', module) == [SUBPROTOCOLS[encoding]]
    options = (ROOT / "web" / "options.js").read_text(encoding="utf-8")
    assert re.findall(r"(/v\d+/ws)`;", options) == [WEBSOCKET_PATH]


def test_the_document_speaks_of_no_other() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert set(re.findall(r"depthcast\.v\d+\.(?:json|msgpack)", text)) == set(SUBPROTOCOLS.values())
    assert {int(number) for number in re.findall(r"/v(\d+)/", text)} == {PROTOCOL}
