"""What a server says of itself, and what is wrong with that."""

from typing import Any

import pytest

from depthcast.shared.server_health import CHECKS, eviction, problems_of

GOOD: dict[str, Any] = {
    "redis_version": "7.0.15",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1000,
    "used_memory": 900,
    "role": "master",
    "slave0": {"ip": "10.0.0.2", "port": 6379, "state": "online", "offset": 1, "lag": 10},
}


def test_a_good_server_has_no_problem() -> None:
    assert problems_of(GOOD, 1.0) == dict.fromkeys(CHECKS, "")


def test_what_a_server_does_not_tell_is_no_problem() -> None:
    assert problems_of({}, -1.0) == dict.fromkeys(CHECKS, "")


@pytest.mark.parametrize(
    ("check", "change", "says"),
    [
        ("version", {"redis_version": "6.2.14"}, "Redis 6.2.14: use Redis 7.0"),
        ("version", {"redis_version": "7.2.4", "valkey_version": "7.1.9"}, "Valkey 7.1.9"),
        ("persistence", {"aof_enabled": 0}, "set appendonly to yes"),
        ("persistence", {"aof_last_write_status": "err"}, "check its disk"),
        ("eviction", {"maxmemory_policy": "allkeys-lru"}, "deletes books and input; set it to noeviction"),
        ("eviction", {"maxmemory_policy": "volatile-lru"}, "would delete keys; set it to noeviction"),
        ("eviction", {"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, "would delete keys"),
        ("memory", {"used_memory": 901}, "901 of 1000 bytes"),
        ("replica", {"slave0": {**GOOD["slave0"], "lag": 11}}, "10.0.0.2:6379 is online and 11 s behind"),
        ("replica", {"slave0": {**GOOD["slave0"], "state": "wait_bgsave"}}, "is wait_bgsave"),
        ("replica", {"role": "slave", "master_link_status": "down"}, "lost its master"),
        ("replica", {"role": "slave", "master_last_io_seconds_ago": 11}, "lost its master"),
    ],
)
def test_a_problem_is_said_with_its_remedy(check: str, change: dict[str, Any], says: str) -> None:
    found = problems_of({**GOOD, **change}, 0.0)
    assert says in found.pop(check)
    assert set(found.values()) == {""}


@pytest.mark.parametrize(("behind_s", "word"), [(1.5, "1.5 s behind"), (-1.5, "1.5 s ahead of")])
def test_clocks_that_differ(behind_s: float, word: str) -> None:
    assert word in problems_of(GOOD, behind_s)["clock"]


@pytest.mark.parametrize(
    ("policy", "maxmemory", "loses"),
    [
        ("allkeys-lru", 1, True),
        ("allkeys-random", 1, True),
        ("allkeys-lru", 0, False),
        ("volatile-ttl", 1, False),
        ("noeviction", 1, False),
    ],
)
def test_only_a_policy_that_deletes_any_key_forbids_to_lead(policy: str, maxmemory: int, loses: bool) -> None:
    assert bool(eviction({"maxmemory_policy": policy, "maxmemory": maxmemory})) is loses
