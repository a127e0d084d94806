"""Which server a command goes to, without any server."""

import pytest

from depthcast.shared.errors import SettingsError
from depthcast.shared.runtime.cluster import ClusterClient, by_slot, first_key
from depthcast.shared.runtime.redis import connect

URL = "redis+cluster://user:secret@one:7000,two:7001?socket_timeout=2"


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "a"), "a"),
        (("XREAD", "COUNT", 1, "BLOCK", 5, b"STREAMS", b"a", "b", "0", "0"), b"a"),
        (("XINFO", "STREAM", "a"), "a"),
        (("XINFO STREAM", "a"), "a"),
        (("EVALSHA", "sha", 2, "a", "b", "c"), "a"),
        (("EVAL", "return 1", 0), None),
        (("SCRIPT LOAD", "return 1"), None),
        (("TIME",), None),
        (("INFO", "server"), None),
    ],
)
def test_the_first_key_of_a_command(command: tuple[object, ...], key: object) -> None:
    assert first_key(command) == key


async def test_keys_of_one_slot_have_one_plain_client() -> None:
    async with connect(URL) as client:
        assert isinstance(client, ClusterClient)
        assert client.at("{a}:x") is client.at(b"{a}:y") is not client.at("{b}:x")
        assert by_slot(client, ["{a}:x", "{b}:x", "{a}:y"]) == [["{a}:x", "{a}:y"], ["{b}:x"]]
        options = client.at("{a}:x").connection_pool.connection_kwargs
        assert (options["username"], options["password"], options["socket_timeout"]) == (
            "user",
            "secret",
            2.0,
        )
    async with connect("redis://one") as client:
        assert by_slot(client, ["{a}:x", "{b}:x"]) == [["{a}:x", "{b}:x"]]


@pytest.mark.parametrize(
    "url", ["redis+cluster://one:7000/3", "redis+cluster://one?db=1", "redis+cluster://one,,two"]
)
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"no databases|not host\[:port\] of a server"):
        connect(url)
