"""Lua scripts as a server runs them: the real text in a real Lua 5.1; `redis.call` is the in-memory store.

Like the server's, this Lua's cmsgpack reads only the older msgpack, without a type for bytes. Nothing is
undone when a script fails.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import msgpack
from lupa.lua51 import LuaRuntime, lua_type  # type: ignore[import-untyped] # no types are published

from tests.simulation.replies import Reply, ReplyError, Status

Execute = Callable[..., Reply]

_PREPARE: Final = b"""
local call, pcall_, unpack_, allowed = ...
redis = {
  call = call,
  pcall = pcall_,
  acl_check_cmd = allowed,
  error_reply = function(text) return {err = text} end,
  status_reply = function(text) return {ok = text} end,
}
cmsgpack = {unpack = unpack_}
return function(text)
  return loadstring('return function(KEYS, ARGV) ' .. text .. '\\nend', '@user_script')
end
"""


class _Lua:
    """One interpreter for the whole process; scripts are compiled once."""

    def __init__(self) -> None:
        self.runtime = LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self.execute: Execute = lambda *_: None
        prepare = self.runtime.eval(b"function(text) return loadstring(text) end")(_PREPARE)
        self.allows: Callable[[bytes], bool] = lambda _: True
        self._compile = prepare(self._call, self._pcall, self._unpack, lambda name, *_: self.allows(name))

    @cache  # noqa: B019  # there is one interpreter, and it lives as long as the process
    def compiled(self, text: bytes) -> Any:
        """Compile the script to a function of KEYS and ARGV; raises `ReplyError`."""
        loaded = self._compile(text)
        if isinstance(loaded, tuple):
            raise ReplyError(f"ERR Error compiling script (new function): {loaded[1].decode()}")
        return loaded()

    def table(self, values: Sequence[Any]) -> Any:
        return self.runtime.table_from(values)

    def _call(self, *arguments: Any) -> Any:
        return self.from_reply(self.execute(*map(_argument, arguments)))

    def _pcall(self, *arguments: Any) -> Any:
        try:
            return self._call(*arguments)
        except ReplyError as error:
            return self.runtime.table_from({b"err": str(error).encode()})

    def _unpack(self, raw: bytes) -> Any:
        try:
            value = msgpack.unpackb(raw, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise ReplyError("ERR user_script: Bad data format in input.") from error
        return self._from_msgpack(value)

    def _from_msgpack(self, value: Any) -> Any:
        if isinstance(value, bytes):
            raise ReplyError("ERR user_script: Bad data format in input.")
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        if isinstance(value, list):
            return self.table([self._from_msgpack(item) for item in value])
        if isinstance(value, dict):
            return self.runtime.table_from(
                {self._from_msgpack(name): self._from_msgpack(item) for name, item in value.items()}
            )
        return value

    def from_reply(self, reply: Reply) -> Any:
        """A command's reply as Lua has it: nil is false, a status a table with `ok`."""
        if isinstance(reply, list):
            return self.table([self.from_reply(item) for item in reply])
        if isinstance(reply, Status):
            return self.runtime.table_from({b"ok": bytes(reply)})
        return False if reply is None else reply


@cache
def _lua() -> _Lua:
    return _Lua()


@cache
def sha1_of(text: bytes) -> bytes:
    """The name under which a script is known."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def run_script(
    execute: Execute,
    allows: Callable[[bytes], bool],
    text: bytes,
    keys: Sequence[bytes],
    arguments: Sequence[bytes],
) -> Reply:
    """Run a script whose `redis.call` is `execute`; raises `ReplyError`.

    `allows`: whether the user may run a command.
    """
    lua = _lua()
    lua.execute, lua.allows = execute, allows
    return _to_reply(lua.compiled(text)(lua.table(keys), lua.table(arguments)))


def _argument(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ReplyError("ERR Lua redis lib command arguments must be strings or integers")
    return b"%d" % value if value == int(value) else b"%.17g" % value


def _to_reply(value: Any) -> Reply:
    """Convert a script's return value to the server's reply."""
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)):
        return int(value)
    assert lua_type(value) == "table", f"a script returned {value!r}"
    if (problem := value[b"err"]) is not None:
        raise ReplyError(problem.decode())
    if (status := value[b"ok"]) is not None:
        return Status(status)
    reply: list[Reply] = []
    while (item := value[len(reply) + 1]) is not None:
        reply.append(_to_reply(item))
    return reply
