"""Ends a leadership if a different server process answers at its address.

After a failover the streams may lack acknowledged entries, and a restarted server may have lost the newest
ones. The leader's state then differs from Redis, so it begins again with a new epoch (`docs/protocol.md`,
section 2.2).
"""

from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from depthcast.shared.errors import Fenced


class ServerIdentity:
    """Checks every new connection of one leadership's client.

    Give `check` to `depthcast.shared.runtime.redis.connect`.
    """

    def __init__(self, partition: int, new_name: Callable[[], str]) -> None:
        self.partition = partition
        self._mark = f"return '{new_name()}'"
        self._sha: bytes | str = b""
        self._run_id: str | None = None

    async def check(self, connection: AbstractConnection) -> None:
        """Compare the server with the first one seen; raises `Fenced` if it is another one.

        A server that does not tell its `run_id`, because the user may not run INFO, is known by a script with
        a random name: each server process has its own scripts.
        """
        await connection.on_connect()
        try:
            await connection.send_command("INFO", "server")
            found = _run_id(await connection.read_response())
        except ResponseError:
            found = await self._marked(connection)
        if self._run_id is None:
            self._run_id = found
        elif found != self._run_id:
            await connection.disconnect()
            raise Fenced(self.partition, f"server {self._run_id}", f"server {found}")

    async def _marked(self, connection: AbstractConnection) -> str:
        """The name of a server that does not tell its own."""
        if self._sha:
            await connection.send_command("SCRIPT", "EXISTS", self._sha)
            known = await connection.read_response()
            return self._mark if known and known[0] else "that is another one"
        await connection.send_command("SCRIPT", "LOAD", self._mark)
        self._sha = await connection.read_response()
        return self._mark


def _run_id(info: bytes | str) -> str:
    text = info.decode() if isinstance(info, bytes) else info
    return next((line[7:].strip() for line in text.splitlines() if line.startswith("run_id:")), "")
