"""The simulated store replies like a real server, to everything the program uses and to random commands."""

from random import Random
from typing import Any

import msgpack
import pytest
from redis.asyncio.lock import Lock

from depthcast.broadcaster.runtime import scripts
from tests.conformance.commands import STREAMS, Command, random_command
from tests.conformance.targets import Error, RealServer, SimulatedServer, Target

TOO_SMALL = "The ID specified in XADD is equal or smaller than the target stream top item"
FULL = Error("OutOfMemoryError", "command not allowed when used memory > 'maxmemory'")


def ids(reply: Any) -> list[bytes]:
    return [name for name, _ in reply]


def fill(store: Target, count: int) -> None:
    for number in range(1, count + 1):
        assert store("XADD", "s", f"{number}-0", "a", number) == b"%d-0" % number


def info(store: Target, key: str = "s") -> dict[bytes, Any]:
    """The reply of XINFO, without the server's storage details."""
    flat = store("XINFO", "STREAM", key)
    return {
        name: value
        for name, value in zip(flat[::2], flat[1::2], strict=True)
        if not name.startswith((b"radix", b"idmp", b"pids", b"iids"))
    }


class TestFence:
    def test_an_id_not_above_the_last_is_refused(self, store: Target) -> None:
        fill(store, 3)
        for name in ("3-0", "2-9", "1-0"):
            assert store("XADD", "s", name, "a", "b") == Error("ResponseError", TOO_SMALL)
        assert store("XADD", "s", "3-1", "a", "b") == b"3-1"

    def test_also_of_a_stream_that_was_emptied(self, store: Target) -> None:
        fill(store, 3)
        assert store("XTRIM", "s", "MAXLEN", 0) == 3
        assert store("XADD", "s", "3-0", "a", "b") == Error("ResponseError", TOO_SMALL)
        assert store("XADD", "s", "4-0", "a", "b") == b"4-0"
        assert store("XDEL", "s", "4-0") == 1
        assert store("XADD", "s", "4-0", "a", "b") == Error("ResponseError", TOO_SMALL)
        assert info(store)[b"last-generated-id"] == b"4-0"

    def test_but_not_of_a_key_that_was_deleted(self, store: Target) -> None:
        fill(store, 3)
        assert store("DEL", "s") == 1
        assert store("XADD", "s", "1-0", "a", "b") == b"1-0"

    def test_automatic_ids_follow_the_last_one_even_from_the_future(self, store: Target) -> None:
        assert store("XADD", "s", "9999999999999-5", "a", "b") == b"9999999999999-5"
        assert store("XADD", "s", "*", "a", "b") == b"9999999999999-6"


class TestTrimming:
    @pytest.mark.parametrize(("exactly", "left"), [("=", 4), ("~", 6)])
    def test_by_id_and_by_whole_nodes_only_if_approximate(
        self, store: Target, exactly: str, left: int
    ) -> None:
        fill(store, 9)
        assert store("XTRIM", "s", "MINID", exactly, "6-0") == 9 - left
        assert store("XLEN", "s") == left

    def test_a_reader_behind_what_was_trimmed_notices_nothing(self, store: Target) -> None:
        fill(store, 9)
        store("XTRIM", "s", "MINID", "6-0")
        (found,) = store("XREAD", "COUNT", 2, "STREAMS", "s", "1-0")
        assert ids(found[1]) == [b"6-0", b"7-0"]
        assert info(store)[b"max-deleted-entry-id"] == b"0-0"

    def test_what_xinfo_says(self, store: Target) -> None:
        fill(store, 4)
        store("XTRIM", "s", "MAXLEN", 2)
        assert info(store) == {
            b"length": 2,
            b"last-generated-id": b"4-0",
            b"max-deleted-entry-id": b"0-0",
            b"entries-added": 4,
            b"recorded-first-entry-id": b"3-0",
            b"groups": 0,
            b"first-entry": [b"3-0", [b"a", b"3"]],
            b"last-entry": [b"4-0", [b"a", b"4"]],
        }
        assert store("XINFO", "STREAM", "absent") == Error("ResponseError", "no such key")


class TestLease:
    def test_set_if_absent_with_an_expiry(self, store: Target) -> None:
        assert store("SET", "lease", "one", "NX", "PX", 60_000) == b"OK"
        assert store("SET", "lease", "two", "NX", "PX", 60_000) is None
        assert 0 < store("PTTL", "lease") <= 60_000
        assert store("EVAL", Lock.LUA_REACQUIRE_SCRIPT, 1, "lease", "two", 90_000) == 0
        assert store("EVAL", Lock.LUA_REACQUIRE_SCRIPT, 1, "lease", "one", 90_000) == 1
        assert 60_000 < store("PTTL", "lease") <= 90_000
        assert store("EVAL", Lock.LUA_RELEASE_SCRIPT, 1, "lease", "two") == 0
        assert store("EVAL", Lock.LUA_RELEASE_SCRIPT, 1, "lease", "one") == 1
        assert store("GET", "lease") is None

    def test_expiry_is_by_the_server_s_clock(self, simulated: SimulatedServer) -> None:
        now_us = 1_000_000
        store = SimulatedServer(lambda: now_us)
        store("SET", "lease", "one", "PX", 300)
        now_us += 299_000
        assert store("PTTL", "lease") == 1
        now_us += 1_000
        assert store("GET", "lease") is None


class TestScripts:
    def test_types_of_replies(self, store: Target) -> None:
        script = "return {1, 2.9, 'x', true, false, {1, {'y'}}, redis.call('PING'), nil, 5}"
        assert store("EVAL", script, 0) == [1, 2, b"x", 1, None, [1, [b"y"]], b"PONG"]
        assert store("EVAL", "return redis.call('GET', 'absent') == false", 0) == 1
        assert store("EVAL", "return redis.error_reply('OWN words')", 0) == Error(
            "ResponseError", "OWN words"
        )

    def test_by_name(self, store: Target) -> None:
        sha = store("SCRIPT", "LOAD", "return {KEYS[1], ARGV[1], #ARGV}")
        assert store("EVALSHA", sha, 1, "k", "v", "w") == [b"k", b"v", 2]
        assert store("EVALSHA", "0" * 40, 0).kind == "NoScriptError"

    def test_what_was_written_before_an_error_stays(self, store: Target) -> None:
        reply = store("EVAL", "redis.call('SET', 'x', 1); redis.call('XADD', 'x', '*', 'a', 'b')", 0)
        assert reply.text.startswith("WRONGTYPE")
        assert store("GET", "x") == b"1"

    def test_only_the_older_msgpack_is_read(self, store: Target) -> None:
        script = "return cmsgpack.unpack(ARGV[1])"
        value = [["symbol", "A", 5, b"\xff".decode("latin-1")], []]
        assert store("EVAL", script, 0, msgpack.packb(value, use_bin_type=False)) == [
            [b"symbol", b"A", 5, "ÿ".encode()],
            [],
        ]
        assert isinstance(store("EVAL", script, 0, msgpack.packb([b"bytes"])), Error)


class TestFullMemory:
    def test_what_is_refused_and_what_is_not(self, store: Target) -> None:
        fill(store, 4)
        store("SET", "text", "x")
        store.fill(full=True)
        for command in (("SET", "text", "y"), ("XADD", "s", "9-0", "a", "b"), ("HSET", "t", "a", "b")):
            assert store(*command) == FULL
        assert store("ZADD", "z", 1, "a") == FULL
        assert store("PEXPIRE", "text", 90_000) == 1
        assert store("XTRIM", "s", "MAXLEN", 1) == 3
        assert store("DEL", "text") == 1
        store.fill(full=False)
        assert store("XADD", "s", "9-0", "a", "b") == b"9-0"

    def test_a_script_is_refused_at_its_first_write_alone(self, store: Target) -> None:
        fill(store, 4)
        store.fill(full=True)
        append = "redis.call('XADD', KEYS[1], '9-0', 'a', 'b')"
        assert store("EVAL", f"redis.call('XLEN', KEYS[1]); return {append}", 1, "s") == FULL
        assert store("EVAL", f"redis.call('XTRIM', KEYS[1], 'MAXLEN', 1); return {append}", 1, "s") == b"9-0"

    def test_a_publish_writes_nothing(self, store: Target) -> None:
        store("XADD", "{p}events", "1-0", "A", "[]")
        store.fill(full=True)
        reject = msgpack.packb([["symbol", "A"]], use_bin_type=False)
        publish = (scripts.PUBLISH, 3, "{p}deltas", "{p}events", "{p}rejects", "0-0", "1-0", 10, 1, 1)
        fields = msgpack.packb(["_", "x"], use_bin_type=False)
        assert store("EVAL", *publish, "5-0", fields, reject) == FULL
        assert store("EXISTS", "{p}deltas", "{p}rejects") == 0


@pytest.mark.parametrize("seed", range(8))
def test_random_commands(real: RealServer, simulated: SimulatedServer, seed: int) -> None:
    rng = Random(seed)
    done: list[Command] = []
    for _ in range(400):
        command = random_command(rng)
        done.append(command)
        wanted, found = real(*command), simulated(*command)
        assert (type(found) is Error) == (type(wanted) is Error), (command, wanted, found)
        if not _of_wrong_usage(wanted):
            assert ordered(command, found) == ordered(command, wanted), done[-3:]
    for key in STREAMS:
        if real("EXISTS", key):
            assert info(simulated, key) == info(real, key)


def ordered(command: Command, reply: Any) -> Any:
    """The reply, sorted by field for HGETALL, because servers promise no order."""
    if command[0] != "HGETALL" or isinstance(reply, Error):
        return reply
    return sorted(zip(reply[::2], reply[1::2], strict=True))


def _of_wrong_usage(reply: Any) -> bool:
    """Servers word errors of invalid commands differently; only the refusal is compared."""
    return isinstance(reply, Error) and not reply.text.startswith(("WRONGTYPE", TOO_SMALL))


@pytest.mark.parametrize("seed", range(4))
def test_random_use_of_the_program_s_scripts(real: RealServer, simulated: SimulatedServer, seed: int) -> None:
    rng = Random(seed)
    outcomes = set()
    for _ in range(150):
        command = _script_command(rng)
        wanted, found = real(*command), simulated(*command)
        assert without_times(found) == without_times(wanted), command
        outcomes.add(wanted[0])
    assert outcomes == {0, 1}
    for key in ("{p}deltas", "{p}events", "{p}snapshots"):
        assert without_times(simulated("XRANGE", key, "-", "+")) == without_times(
            real("XRANGE", key, "-", "+")
        )
    assert simulated("XLEN", "{p}rejects") == real("XLEN", "{p}rejects")
    assert simulated("GET", "{p}checkpoint") == real("GET", "{p}checkpoint")


def without_times(reply: Any) -> Any:
    """The reply with a 0 for each time of the server's clock, µs since 1970."""
    if isinstance(reply, list):
        return [without_times(part) for part in reply]
    return 0 if isinstance(reply, bytes) and len(reply) == 16 and reply.isdigit() else reply


def _script_command(rng: Random) -> Command:
    """One of the scripts as a leader of a small epoch would use it, often refused."""
    last = f"{rng.randint(1, 2)}-{rng.randint(0, 8)}" if rng.random() < 0.3 else None
    kind = rng.random()
    position = last or "0-0"
    if kind < 0.2:
        return ("EVAL", scripts.TRIM, 2, "{p}deltas", "{p}events", position, rng.choice(("", "1-5")), "3-0")
    checkpoint = msgpack.packb([1, f"1-{rng.randint(0, 9)}", "0-0", [], []])
    attachments = (f"1-{rng.randint(0, 9)}", b"snapshot", "", checkpoint)
    if kind < 0.4:
        return (
            "EVAL",
            scripts.STORE,
            3,
            "{p}deltas",
            "{p}snapshots",
            "{p}checkpoint",
            position,
            *attachments,
        )
    keys = ("{p}deltas", "{p}events", "{p}rejects", "{p}snapshots", "{p}checkpoint")
    name = f"1-{rng.randint(0, 9)}"
    previous = rng.choice(("0-0", f"1-{int(name[2:]) - 1}")) if name != "1-0" else "0-0"
    rejects = [["symbol", "A", "event", "é"]] * rng.randint(1, 3)
    packed = msgpack.packb(rejects, use_bin_type=False)
    fields = msgpack.packb(["_", b"\x80", "A", b"\x00\xff"], use_bin_type=False)
    return ("EVAL", scripts.PUBLISH, 5, *keys, previous, rng.choice(("0-0", "0-0", "7-0")), 4, 1, 1,
            name, fields, packed, *attachments)  # fmt: skip
