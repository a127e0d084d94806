"""What servers of a cluster say to each other, passed on by proxies, so that one of them can be cut off.

Clients and replication do not come this way: a server that is cut off still serves those who reach it.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self

from depthcast.runtime.ports import HOST

NAME: Final = slice(40, 80)
"""Where the first bytes of a connection have the sender's name ("Redis cluster bus", `clusterMsg`)."""

CHUNK: Final = 65_536


class ClusterBus:
    """Proxies before the ports of all servers. `apart`: number and name of the one that is cut off now."""

    def __init__(self) -> None:
        self.apart: tuple[int, bytes] | None = None
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def add(self, number: int, listening: int, port: int) -> None:
        """Pass on what comes to the port `listening` for the server with this number, which is at `port`."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                with suppress(OSError, EOFError, asyncio.CancelledError):
                    await self._pass(number, port, reader, writer)
            finally:
                self._tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, HOST, listening)
        self._stack.callback(server.close)

    def part(self, number: int, name: str) -> None:
        """Cut a server off: connections stay, and nothing comes through."""
        self.apart = number, name.encode()
        self._whole.clear()

    def heal(self) -> None:
        """Let everything come through again."""
        self.apart = None
        self._whole.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(
        self, number: int, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readexactly(NAME.stop)
        ends = number, head[NAME]
        await self._passable(ends)
        there, back = await asyncio.open_connection(HOST, port)
        try:
            back.write(head)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(ends, reader, back))
                group.create_task(self._pump(ends, there, writer))
        except* (OSError, EOFError):
            pass
        finally:
            back.close()

    async def _pump(
        self, ends: tuple[int, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            await self._passable(ends)
            writer.write(data)
            await writer.drain()
        raise EOFError

    async def _passable(self, ends: tuple[int, bytes]) -> None:
        """Wait while one of both ends is cut off."""
        while self.apart is not None and (ends[0] == self.apart[0] or ends[1] == self.apart[1]):
            await self._whole.wait()
