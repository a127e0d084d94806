"""An in-memory Redis: the commands that the program uses, with a real server's replies, errors and trimming.

`tests/conformance/test_store.py` compares it with a real server. It has one database, no replication and no
connections; `tests.simulation.server` does blocking reads.
"""

from collections.abc import Callable
from typing import Final

from tests.simulation.data import Data
from tests.simulation.key_commands import KEY_COMMANDS
from tests.simulation.replies import OK, Reply, ReplyError, integer
from tests.simulation.scripting import run_script, sha1_of
from tests.simulation.stream_commands import STREAM_COMMANDS

OUT_OF_MEMORY: Final = "OOM command not allowed when used memory > 'maxmemory'."

NEEDS_MEMORY: Final = frozenset({b"SET", b"HSET", b"HSETNX", b"XADD", b"ZADD"})
"""Refused while memory is full."""

WRITES: Final = NEEDS_MEMORY | {
    b"DEL", b"UNLINK", b"HDEL", b"PEXPIRE", b"XTRIM", b"XDEL", b"ZREM", b"ZREMRANGEBYSCORE", b"FLUSHALL",
}  # fmt: skip


class Store(Data):
    """The data with its commands."""

    def execute(self, *arguments: bytes) -> Reply:
        """One command at one moment; raises `ReplyError`."""
        name = arguments[0].upper()
        command = COMMANDS.get(name)
        if command is None:
            raise ReplyError(f"ERR unknown command '{arguments[0].decode()}'")
        if not self.allows(name):
            raise ReplyError(f"NOPERM User has no permissions to run {name.decode().lower()}")
        self._check_memory(name)
        if self.observer is not None:
            self.observer.before(name, arguments[1:])
        try:
            reply = command(self, *arguments[1:])
        except (TypeError, IndexError, StopIteration) as error:
            raise ReplyError(
                f"ERR wrong number of arguments for '{name.decode().lower()}' command"
            ) from error
        if name in WRITES:
            self.writes.update(arguments[1:2])  # none is named where all are written
            if self.script_wrote is False:
                self.script_wrote = True
        if self.observer is not None:
            self.observer.after(name, arguments[1:])
        return reply

    def allows(self, name: bytes) -> bool:
        """Whether the access list allows a command; scripts ask it, too."""
        return name not in self.denied

    def _check_memory(self, name: bytes) -> None:
        """A script that has written may continue: only its first write can be refused."""
        if name not in NEEDS_MEMORY or self.script_wrote:
            return
        if self.memory_full if self.script_wrote is None else self.memory_was_full:
            raise ReplyError(OUT_OF_MEMORY)


def _script(data: Data, word: bytes, *arguments: bytes) -> Reply:
    if word.upper() == b"LOAD":
        sha = sha1_of(arguments[0])
        data.scripts[sha] = arguments[0]
        return sha
    if word.upper() == b"FLUSH":
        data.scripts.clear()
        return OK
    raise ReplyError(f"ERR unknown subcommand '{word.decode()}'.")


def _evalsha(data: Data, sha: bytes, *arguments: bytes) -> Reply:
    if sha not in data.scripts:
        raise ReplyError("NOSCRIPT No matching script. Please use EVAL.")
    return _run(data, data.scripts[sha], *arguments)


def _eval(data: Data, text: bytes, *arguments: bytes) -> Reply:
    data.scripts[sha1_of(text)] = text
    return _run(data, text, *arguments)


def _run(data: Data, text: bytes, keys_count: bytes, *arguments: bytes) -> Reply:
    count = integer(keys_count)
    data.script_wrote, data.memory_was_full = False, data.memory_full
    try:
        return run_script(data.execute, data.allows, text, arguments[:count], arguments[count:])
    finally:
        data.script_wrote = None


COMMANDS: Final[dict[bytes, Callable[..., Reply]]] = {
    **KEY_COMMANDS,
    **STREAM_COMMANDS,
    b"SCRIPT": _script,
    b"EVAL": _eval,
    b"EVALSHA": _evalsha,
}
