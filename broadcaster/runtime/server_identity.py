"""Ends a leadership if a different server process answers at its address.

After a failover the streams may lack acknowledged entries, and a restarted server may have lost the newest
ones. The leader's state then differs from Redis, so it begins again with a new epoch (`docs/protocol.md`,
section 2.2).
"""

from redis.asyncio.connection import AbstractConnection

from depthcast.shared.errors import Fenced


class ServerIdentity:
    """Checks every new connection of one leadership's client.

    Give `check` to `depthcast.shared.runtime.redis.connect`.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.run_id: str | None = None

    async def check(self, connection: AbstractConnection) -> None:
        """Compare the server's `run_id` with the first one seen; raises `Fenced` if it differs."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        run_id = _run_id(await connection.read_response())
        if self.run_id is None:
            self.run_id = run_id
        elif run_id != self.run_id:
            await connection.disconnect()
            raise Fenced(self.partition, f"server {self.run_id}", f"server {run_id}")


def _run_id(info: bytes | str) -> str:
    text = info.decode() if isinstance(info, bytes) else info
    return next((line[7:].strip() for line in text.splitlines() if line.startswith("run_id:")), "")
