"""Every error code that the source raises or sends is in the list, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from depthcast.client.websocket import REFUSED
from depthcast.shared.error_codes import CLIENT_CODES, GATEWAY_CODES

ROOT = Path(__file__).parents[3]


def calls(folder: str) -> Iterator[tuple[str, list[ast.expr]]]:
    """(name, positional arguments) of each call in a folder's modules."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                match node.func:
                    case ast.Name(id=name) | ast.Attribute(attr=name):
                        yield name, node.args


def literal_codes(folder: str, **place_of_code: int) -> set[str]:
    """Codes written as text in calls of these names, by the place of the argument."""
    found = set()
    for name, arguments in calls(folder):
        place = place_of_code.get(name, len(arguments))
        if place < len(arguments) and isinstance(code := arguments[place], ast.Constant):
            assert isinstance(code.value, str)
            found.add(code.value)
    return found


def test_the_clients_own_codes() -> None:
    raised = literal_codes("depthcast/client", ClientError=0) | literal_codes(
        "depthcast/consumer", ClientError=0
    )
    assert raised | set(REFUSED.values()) == set(CLIENT_CODES)


def test_the_gateways_codes() -> None:
    assert set(GATEWAY_CODES) == literal_codes("gateway", Refused=0, refuse=0, Refusal=1)


def test_the_contract_lists_the_gateways_codes() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    table = text.split("| error code | meaning |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(GATEWAY_CODES)
