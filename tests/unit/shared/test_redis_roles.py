"""What each role may do at Redis: as little as it needs."""

from hashlib import sha256

import pytest

from depthcast.shared.redis_roles import (
    ROLES,
    WRITE,
    acl_administrator,
    acl_rules,
    acl_user,
    patterns,
)
from tests.role_commands import commands_of

READERS = ("gateway", "consumer", "doctor", "relay-source")
BOOKS = {"deltas", "snapshots", "meta", "instruments", "incarnation", "listings"}


def written_by(role: str) -> set[str]:
    """Names of keys that a role may write in any way."""
    selectors = ROLES[role].selectors
    return {name for each in selectors if each.access != "%R~" for name in each.keys.split()}


@pytest.mark.parametrize("role", READERS)
def test_who_reads_writes_nothing_that_others_read(role: str) -> None:
    assert written_by(role) <= {"gateways", "consumers"}


@pytest.mark.parametrize("role", ["producer", "feed", "operator"])
def test_who_adds_input_writes_no_book(role: str) -> None:
    assert not written_by(role) & {"deltas", "snapshots", "listings", "leader", "checkpoint"}


def test_who_copies_books_writes_nothing_at_the_source_and_adds_no_input_to_the_copy() -> None:
    assert not written_by("relay-source")
    assert not written_by("relay") & {"events", "producers", "checkpoint", "rejects", "feeders"}


def test_input_can_be_added_to_and_neither_changed_nor_deleted() -> None:
    for role in ("producer", "feed", "operator"):
        commands = {
            command
            for each in ROLES[role].selectors
            if "events" in each.keys.split() and each.access != "%R~"
            for command in each.commands.split()
        }
        assert commands <= {"xadd", "evalsha", "type"}


@pytest.mark.parametrize("role", ROLES)
def test_no_role_manages_the_server(role: str) -> None:
    names = {command.partition("|")[0] for command in commands_of(role)}
    assert not names & {
        "acl",
        "config",
        "flushall",
        "flushdb",
        "keys",
        "shutdown",
        "debug",
        "monitor",
        "client",
    }
    assert all(name in patterns("p") for each in ROLES[role].selectors for name in each.keys.split())


def test_the_line_of_a_user() -> None:
    digest = sha256(b"pass word").hexdigest()
    assert acl_user("consumer", "p", "pass word") == (
        f"user p-consumer on #{digest} +asking +cluster|slots +select +info +readonly +time "
        "(+hgetall +xinfo|stream +xrange +xread +xrevrange "
        "%R~p:meta %R~{p}:meta %R~p:instruments %R~{p}:instruments %R~{p:*}:deltas %R~{p:*}:snapshots:*) "
        "(+hdel +hset %W~p:consumers %W~{p}:consumers)"
    )
    assert acl_administrator("pass word") == f"user default on #{digest} ~* &* +@all"


def test_a_prefix_is_no_pattern() -> None:
    assert patterns("a*[b]?")["meta"] == ("a\\*\\[b\\]\\?:meta", "{a\\*\\[b\\]\\?}:meta")
    assert "~a\\*:gateways" in " ".join(acl_rules("gateway", "a*", "x"))


def test_a_command_that_writes_has_the_right_to_write() -> None:
    writing = {"xadd", "xtrim", "hset", "hsetnx", "hdel", "del", "set", "pexpire", "zadd", "zrem"}
    for role in ROLES.values():
        for each in role.selectors:
            if writing & set(each.commands.split()):
                assert each.access in (WRITE, "~")
