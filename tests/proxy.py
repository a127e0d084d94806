"""A TCP proxy before a Redis server, which cuts connections, delays replies and freezes on demand."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from depthcast.runtime.ports import free_port
from tests.waiting import TIMEOUT_S


class Cut(Enum):
    """When the client's connection is cut."""

    BEFORE = "before the command reached the server"
    AFTER = "after the server ran it, before its reply"
    LATE = "at once, while the command is on its way for long: it arrives with `release`"


@dataclass
class FaultProxy:
    """Passes everything on to the server at `url`, except the commands that `faults` name.

    Faults are used up in order, one for each command whose name is `word`, after `spared` of them. `held`:
    commands cut by `Cut.LATE`. Every reply is held for `delay_s`. `target` may be changed, for connections
    made from then on.

    `refuse` gets every command as its words and may return an error reply, which the client gets instead; the
    command is not executed then. The server itself makes the reply, so the order of replies stays.
    """

    target: str
    word: bytes = b"EVALSHA"
    faults: list[Cut] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    cuts: int = 0
    spared: int = 0
    delay_s: float = 0.0
    port: int = field(default_factory=free_port)
    refuse: Callable[[list[bytes]], str | None] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = await asyncio.start_server(self._track(self._serve), "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut every current connection."""
        for task in self._tasks:
            task.cancel()

    def freeze(self) -> None:
        """Block both directions until `thaw`; connections stay open, as on a broken link."""
        self._passing.clear()

    def thaw(self) -> None:
        self._passing.set()

    async def release(self) -> bytes:
        """Let the oldest held command arrive; returns the beginning of the server's reply."""
        reader, writer = await self._connect()
        try:
            writer.write(self.held.pop(0))
            async with asyncio.timeout(TIMEOUT_S):
                return await reader.read(4096)
        finally:
            await _close(writer)

    def _track(
        self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: writer.close())  # even if it never began

        return connected

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.target)
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await self._connect()
        except OSError:
            return  # the server is away: so is the connection
        replies = asyncio.create_task(self._pass_back(server, to_client))
        try:
            while command := await _read_command(client):
                await self._passing.wait()
                if not await self._pass(command, server, to_server, replies):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            replies.cancel()
            to_server.close()
            to_client.close()
            await asyncio.gather(replies, return_exceptions=True)

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                await self._passing.wait()
                writer.write(data)
        writer.close()

    async def _pass(
        self,
        command: bytes,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        replies: "asyncio.Task[None]",
    ) -> bool:
        """Pass one command on; returns False if the connection must be cut."""
        if self.refuse is not None and (reply := self.refuse(_words(command))) is not None:
            to_server.write(_packed(b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", reply.encode()))
            return True
        if not self.faults or _name(command) != self.word:
            to_server.write(command)
            return True
        if self.spared:
            self.spared -= 1
            to_server.write(command)
            return True
        self.cuts += 1
        fault = self.faults.pop(0)
        if fault is Cut.LATE:
            self.held.append(command)
        if fault is Cut.AFTER:
            replies.cancel()
            await asyncio.gather(replies, return_exceptions=True)
            to_server.write(command)
            await server.read(1)  # the reply is there, so it was run
        return False


def _name(command: bytes) -> bytes:
    return command.split(b"\r\n", 3)[2].upper()


def _words(command: bytes) -> list[bytes]:
    """The words of a raw command."""
    words, rest = [], command.partition(b"\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        words.append(rest[: int(size[1:])])
        rest = rest[int(size[1:]) + 2 :]
    return words


def _packed(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


async def _read_command(reader: asyncio.StreamReader) -> bytes:
    """Read one raw command; empty at the end."""
    head = await reader.readline()
    parts = [head]
    for _ in range(int(head[1:]) if head else 0):
        size = await reader.readline()
        parts += [size, await reader.readexactly(int(size[1:]) + 2)]
    return b"".join(parts)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
