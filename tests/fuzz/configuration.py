"""Targets: what an operator writes. Instruments as TOML and JSON, settings, and addresses of Redis."""

import traceback
from typing import Any, Final

from depthcast.runtime.deployment import to_toml
from depthcast.shared.errors import InstrumentsError, SettingsError
from depthcast.shared.instruments import from_json, parse_toml, to_json
from depthcast.shared.redis_url import problem_of, without_credentials
from depthcast.shared.runtime.redis import connect
from depthcast.shared.settings import GatewaySettings, IngestorSettings, known_variables
from depthcast.shared.types import is_symbol
from tests.fuzz.material import Material
from tests.fuzz.target import Target

KEYS: Final = (
    "tick_size",
    "lot_size",
    "feed",
    "on_cross",
    "levels",
    "orders",
    "reject",
    "evict",
    "0.01",
    "1",
    "x",
)
VARIABLES: Final = (*sorted(known_variables()), "DEPTHCAST_X", "HOME")
SECRET: Final = "S3cr3tValue"
SCHEMES: Final = ("redis://", "rediss://", "unix://", "redis+sentinel://", "REDIS://", "redis:", "")
HOSTS: Final = ("h", "h:1/0", "", "h:1,g:2/m", "/run/s", "[::1]", "h:x", "h#f", "h/0?db=x")
TEXTS: Final = ("1", "0", "-1", "50", "1e3", "true", "info", "redis://h", "redis+sentinel://h/m", "::", "")


def instrument_json(data: bytes) -> None:
    material = Material(data)
    symbol = material.choose(("A", "BTC-USD", "", "é", "a" * 33))

    def make() -> Any:
        return {material.choose(KEYS): material.value(KEYS) for _ in range(material.below(5))}

    try:
        found = from_json(symbol, material.written(make))
    except InstrumentsError:
        return
    assert is_symbol(found.symbol)
    assert from_json(found.symbol, to_json(found)) == found


def instruments_toml(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found = parse_toml(text)
    except InstrumentsError:
        return
    assert all(is_symbol(symbol) and symbol == item.symbol for symbol, item in found.items())
    assert parse_toml(to_toml(found.values())) == found


def settings(data: bytes) -> None:
    material = Material(data)
    environment = {
        material.choose(VARIABLES): material.text() if material.chance(128) else material.choose(TEXTS)
        for _ in range(1 + material.below(5))
    }
    for kind in (IngestorSettings, GatewaySettings):
        try:
            found = kind.load(environment)
        except SettingsError:
            continue
        assert kind.load({}, dict.fromkeys(environment)) == kind()
        assert found.log_level in ("debug", "info", "warning", "error")


def redis_address(data: bytes) -> None:
    """No address shows the secret in it, and every one is refused by SettingsError or makes a client."""
    material = Material(data)
    secret = (
        material.chunk().decode("utf-8", "replace") + SECRET + material.chunk().decode("utf-8", "replace")
    )
    scheme, host = material.choose(SCHEMES), material.choose(HOSTS)
    if material.chance(128):
        url = f"{scheme}{material.choose(('', 'u', 'a:b'))}:{secret}@{host}"
    else:
        option = material.choose(("password", "PASSWORD", "sentinel_password", "x", ""))
        url = f"{scheme}{host}?{option}={secret}"
    said = [without_credentials(url), problem_of(url) or ""]
    try:
        connect(GatewaySettings.load({"DEPTHCAST_REDIS_URL": url}).redis_url)
    except SettingsError as error:
        said += traceback.format_exception(error)
    try:
        GatewaySettings.load({}, {"redis_url": url})
    except SettingsError as error:
        said += traceback.format_exception(error)
    assert not any(SECRET in text for text in said)


_TOML: Final = b'["BTC-USD"]\ntick_size = "0.01"\nlot_size = "0.001"\nfeed = "levels"\non_cross = "reject"\n'

TARGETS: Final = (
    Target(
        "instrument_json", instrument_json, "InstrumentsError, or an instrument that reads as itself",
        (b'\x00\x01{"tick_size":"0.01","feed":"orders"}', b"\x00\x00\x04\x01\x05"),
    ),
    Target(
        "instruments_toml", instruments_toml, "InstrumentsError, or instruments that read as themselves",
        (_TOML, b'A = {feed = "orders", tick_size = "1"}', b"[a.b]\n[[c]]\nx = 1979-05-27"),
    ),
    Target(
        "redis_address", redis_address, "SettingsError or a client, and the secret in it is in no text",
        (b"\x00\x01/\x00\x02\x00", b"\x02@a\x00\x03\x01\xff\x02"),
    ),
    Target(
        "settings", settings, "SettingsError, or settings within their bounds",
        (bytes(range(40)), b"\x01\x05\x80\x05"),
    ),
)  # fmt: skip
