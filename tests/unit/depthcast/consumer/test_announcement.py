"""A consumer with a name says how far it is, and reads all the same if it may not."""

import json
import logging
from typing import Any

import pytest
from redis.exceptions import ResponseError

from depthcast import SettingsError
from depthcast.consumer.announcement import Announcement
from depthcast.shared.version import VERSION


class Server:
    """A client that records commands, or refuses them."""

    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self.refuses = False

    async def execute_command(self, *words: Any) -> int:
        if self.refuses:
            raise ResponseError("NOPERM this user has no permissions to run the 'hset' command")
        self.commands.append(words)
        return 1


def announcement(server: Server, name: str = "risk") -> Announcement:
    client: Any = server
    return Announcement(client, "p:consumers", name)


async def test_it_says_its_lag_by_partition() -> None:
    server = Server()
    await announcement(server).say(5_000_000.7, {0: 0.0125, 3: None}, {3: 40})
    ((command, key, name, raw),) = server.commands
    assert (command, key, name) == ("HSET", "p:consumers", "risk")
    lags = {"lag_ms": {"0": 12, "3": None}, "replica_lag_ms": {"3": 40}}
    assert json.loads(raw) == {"at": 5_000_001, "version": VERSION, **lags}


async def test_it_says_nothing_before_it_knows_the_servers_time() -> None:
    server = Server()
    await announcement(server).say(None, {0: 0.5}, {})
    assert server.commands == []


async def test_it_leaves() -> None:
    server = Server()
    await announcement(server).leave()
    assert server.commands == [("HDEL", "p:consumers", "risk")]


async def test_without_the_right_to_write_it_goes_on_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.refuses = True
    made = announcement(server)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await made.say(1.0, {}, {})
        await made.leave()
    assert [record.message for record in caplog.records] == [
        "this consumer is not listed in Redis; it reads all the same"
    ]


@pytest.mark.parametrize("name", ["", "a b", "a" * 65])
def test_a_name_that_is_none_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(SettingsError, match="up to 64 letters"):
        announcement(Server(), name)
