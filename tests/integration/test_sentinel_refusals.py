"""What sentinels reply, as commands and processes say it: a line with who replied what, and a remedy."""

import asyncio
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, cast

import hiredis
import pytest
from click.testing import CliRunner
from redis.asyncio.sentinel import MasterNotFoundError

from depthcast.cli.main import main as depthcast
from depthcast.runtime.ports import HOST, free_port
from depthcast.shared.reply_remedies import NO_MASTER, remedy_of
from depthcast.shared.runtime.redis import connect
from tests.conformance.cli_replies import CASES
from tests.environment import without_settings
from tests.waiting import TIMEOUT_S

REPLIES = {
    "NOAUTH Authentication required.": "sentinel_password",
    "WRONGPASS invalid username-password pair or user is disabled.": "sentinel_password",
    "NOPERM this user has no permissions to run the 'sentinel|masters' command": "ACL SETUSER",
    "LOADING Redis is loading the dataset in memory": "in a moment",
    "IDONTKNOW I have not enough information to reply": "in a moment",
    "ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS'": "26379",
    "STRANGE whatever this is": "its own log",
}
"""Replies, and a part of the remedy."""

SECRET = "the-password-of-sentinels"
WORDS = [(*case.name.split(), *case.words) for case in CASES if not case.waits]
FILE_WORDS = {"FILE": "feed.jsonl", "RECORDS": "records"}


@contextmanager
def sentinel(*replies: bytes) -> Iterator[int]:
    """Something that answers commands with `replies` in turn, each after a moment if there are several.

    It says nothing at all for an empty one, and takes any password if a reply is no error. Yields its port.
    """
    following, rng = itertools.cycle(replies), Random(7)
    takes_any = not all(reply[:1] in (b"", b"-") for reply in replies)
    loop, port = asyncio.new_event_loop(), free_port()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader()
        try:
            while data := await reader.read(4096):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    reply = b"+OK\r\n" if takes_any and command[0] == b"AUTH" else next(following)
                    await asyncio.sleep(rng.choice([0, 0, 0.01]) if len(replies) > 1 else 0)
                    writer.write(reply)
        except asyncio.CancelledError:
            pass  # asyncio would log it
        finally:
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, HOST, port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def environment(*ports: int, scheme: str = "redis+sentinel") -> dict[str, str]:
    places = ",".join(f"{HOST}:{port}" for port in ports)
    url = f"{scheme}://{places}/books?sentinel_password={SECRET}"
    return {**without_settings(), "DEPTHCAST_REDIS_URL": url}


def said(words: tuple[str, ...], *ports: int, scheme: str = "redis+sentinel") -> str:
    """What a command says of sentinels: in one line, and without the password."""
    runner = CliRunner(env={name: None for name in os.environ if name.startswith("DEPTHCAST_")})
    found = runner.invoke(depthcast, words, env=environment(*ports, scheme=scheme))
    assert found.exit_code in (1, 2), (words, found.output, found.exception)
    assert SECRET not in found.output
    lines = [line for line in found.output.splitlines() if NO_MASTER in line]
    assert len(lines) == 1, found.output
    assert len(lines[0]) < 400 + len(ports) * 100, lines[0]
    for port in ports:
        assert f"{HOST}:{port} " in lines[0]
    return lines[0]


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_is_named_with_its_remedy(reply: str) -> None:
    with sentinel(f"-{reply}\r\n".encode()) as port:
        line = said(("instruments", "list"), port)
        assert reply.split(maxsplit=1)[0] in line
        assert REPLIES[reply] in line
        assert "DEPTHCAST_REDIS_PASSWORD" not in line


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_every_command_says_it(words: tuple[str, ...]) -> None:
    reply = "NOAUTH Authentication required."
    with sentinel(f"-{reply}\r\n".encode()) as port, sentinel(b"") as silent:
        line = said(words, port, silent)
        assert reply in line
        assert "does not answer" in line
        assert remedy_of(line) in line


def test_sentinels_that_do_not_answer() -> None:
    nobody = free_port()
    line = said(("instruments", "list"), nobody)
    assert "see that the sentinels run" in line


def test_sentinels_without_the_tls_that_is_asked_for() -> None:
    with sentinel(b"-ERR Protocol error\r\n") as port:
        line = said(("instruments", "list"), port, scheme="rediss+sentinel")
        assert "rediss+sentinel://" in line


@pytest.mark.parametrize("words", [("ingestor",), ("gateway",)])
def test_processes_that_wait_say_it(words: tuple[str, ...]) -> None:
    with sentinel(b"-NOAUTH Authentication required.\r\n") as port:
        command = [sys.executable, "-m", "depthcast", *words]
        given = {**environment(port), "DEPTHCAST_PORT": str(free_port())}
        with subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True) as process:
            late = threading.Timer(TIMEOUT_S, process.kill)
            late.start()
            try:
                assert process.stderr is not None
                line = next((line for line in process.stderr if NO_MASTER in line), "")
            finally:
                late.cancel()
                process.kill()
        assert f"{HOST}:{port} replied NOAUTH" in line
        assert "sentinel_password" in line
        assert SECRET not in line


ODD = {
    "a status": b"+OK\r\n",
    "nothing": b"$-1\r\n",
    "a number": b":1\r\n",
    "no array": b"*-1\r\n",
    "text": b"*1\r\n$1\r\nx\r\n",
    "a name only": b"*1\r\n*2\r\n$4\r\nname\r\n$5\r\nbooks\r\n",
    "a port that is none": b"*1\r\n*8\r\n$4\r\nname\r\n$5\r\nbooks\r\n$4\r\nport\r\n$1\r\nx\r\n"
    b"$2\r\nip\r\n$1\r\nh\r\n$5\r\nflags\r\n$6\r\nmaster\r\n",
}
"""Replies that no sentinel gives."""


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
def test_a_reply_that_names_no_masters_is_passed_over(reply: bytes) -> None:
    with sentinel(reply) as odd, sentinel(b"-IDONTKNOW not yet\r\n") as other:
        line = said(("instruments", "list"), odd, other)
        assert f"{HOST}:{odd} replied what names no servers" in line
        assert f"{HOST}:{other} replied IDONTKNOW" in line
        assert "no sentinel of a kind that Depthcast knows" in said(("instruments", "list"), odd)


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
def test_a_reply_that_names_no_replicas_is_passed_over(reply: bytes) -> None:
    with (
        sentinel(reply) as odd,
        sentinel(named("10.0.0.1:6379", "slave")) as good,
        sentinel(b"*0\r\n") as none,
    ):

        async def ask(*ports: int) -> Any:
            client = connect(environment(*ports)["DEPTHCAST_REDIS_URL"])
            try:
                return await cast("Any", client.connection_pool).sentinel_manager.discover_slaves("books")
            finally:
                await client.aclose()

        assert asyncio.run(ask(odd, good)) == [(HOST, 1)]
        assert asyncio.run(ask(none, odd)) == []
        with pytest.raises(MasterNotFoundError, match=f"{odd} replied what names no servers"):
            asyncio.run(ask(odd))


def named(name: str, flags: str) -> bytes:
    """The reply of a sentinel that knows one server, which is at port 1."""
    state = {"name": name, "ip": HOST, "port": "1", "flags": flags, "num-other-sentinels": "2"}
    words = [word for item in state.items() for word in item]
    text = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*1\r\n*{len(words)}\r\n{text}".encode()


def test_sentinels_stay_known_when_many_tasks_ask_at_once() -> None:
    """A list that has one of them twice would lack another, whose connections nobody would close."""
    # Two tasks that were refused by one have the answer of the next one at the same time.
    replies = [b"-IDONTKNOW not yet\r\n"] * 2 + [named("books", "master")] * 2
    with sentinel(*replies) as first, sentinel(*replies) as second, sentinel(*replies) as third:
        asyncio.run(ask_together([first, second, third]))


async def ask_together(ports: list[int]) -> None:
    client = connect(environment(*ports)["DEPTHCAST_REDIS_URL"])
    manager = cast("Any", client.connection_pool).sentinel_manager
    answers = []
    for _ in range(40):
        asking = (manager.discover_master("books") for _ in range(8))
        answers += await asyncio.gather(*asking, return_exceptions=True)
        known = [each.connection_pool.connection_kwargs["port"] for each in manager.sentinels]
        assert sorted(known) == sorted(ports)
    assert (HOST, 1) in answers
    refused = [each for each in answers if each != (HOST, 1)]
    assert all(isinstance(each, MasterNotFoundError) for each in refused)
    assert not [each for each in refused if "does not answer" in str(each)], "nobody was cut off"
    await client.aclose()
