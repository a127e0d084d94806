"""Ends a leadership if a different server process answers at its address, or was a replica meanwhile.

After a failover the streams may lack acknowledged entries, and a restarted server may have lost the newest
ones. A master that was replaced unnoticed loses what it wrote since when it becomes a replica; it may be
promoted again, as the same process. The leader's state then differs from Redis, so it begins again with a new
epoch (`docs/protocol.md`, section 2.2).
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
        self._seen: str | None = None

    async def check(self, connection: AbstractConnection) -> None:
        """Compare the server with the first one seen; raises `Fenced` if it is another one.

        `run_id` names the process, `master_replid` its history: who was a replica meanwhile has another one.
        A server that does not tell them, because the user may not run INFO, is known by a script with a
        random name: each server process has its own scripts.
        """
        await connection.on_connect()
        try:
            await connection.send_command("INFO", "server", "replication")
            found = _named(await connection.read_response())
        except ResponseError:
            found = await self._marked(connection)
        if self._seen is None:
            self._seen = found
        elif found != self._seen:
            await connection.disconnect()
            raise Fenced(self.partition, f"server {self._seen}", f"server {found}")

    async def _marked(self, connection: AbstractConnection) -> str:
        """The name of a server that does not tell its own."""
        if self._sha:
            await connection.send_command("SCRIPT", "EXISTS", self._sha)
            known = await connection.read_response()
            return self._mark if known and known[0] else "that is another one"
        await connection.send_command("SCRIPT", "LOAD", self._mark)
        self._sha = await connection.read_response()
        return self._mark


def _named(info: bytes | str) -> str:
    """The names of the process and of its history, in what INFO says."""
    text = info.decode() if isinstance(info, bytes) else info
    said = dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line)
    return f"{said.get('run_id', '')} with the history {said.get('master_replid', '')}"
