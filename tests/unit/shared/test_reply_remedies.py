"""What to do about each error reply of Redis."""

import pytest

from depthcast.shared.errors import RedisRefused, RedisUnavailable, SettingsError, WrongKey
from depthcast.shared.reply_remedies import REMEDIES, UNKNOWN, UNREACHED, quotes_reply, remedy_of
from depthcast.shared.runtime.command import with_remedy
from depthcast.shared.runtime.error_replies import CODES


def test_every_reply_that_is_counted_by_name_has_a_remedy() -> None:
    assert {*REMEDIES, "ERR"} == CODES
    assert all(remedy_of(f"{code} some text") == remedy for code, remedy in REMEDIES.items())


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        ("ERR max number of clients reached", "raise maxclients"),
        ("ERR unknown command 'AUTH'", "set DEPTHCAST_REDIS_USERNAME"),
        ("ERR wrong number of arguments for command", "report it"),
        ("127.0.0.1:1: the connection was left after the reply READONLY no", "is a replica"),
        ("OOM because of ERR", "memory is full"),
        ("EXECABORT Transaction discarded because of: OOM command not allowed", "memory is full"),
        ("EXECABORT Transaction discarded because of previous errors.", "nothing is wrong"),
        ("ASK 12 127.0.0.1:1: LOADING Redis is loading", "reads its file"),
        ("STRANGE a reply", UNKNOWN),
    ],
)
def test_of_other_texts(reply: str, remedy: str) -> None:
    assert remedy in remedy_of(reply)
    assert quotes_reply(reply) == (remedy != UNKNOWN)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RedisRefused("STRANGE a", "STRANGE"), f"Redis is unavailable: STRANGE a; {UNKNOWN}"),
        (RedisUnavailable("h:1: OOM a"), f"Redis is unavailable: h:1: OOM a; {REMEDIES['OOM']}"),
        (RedisUnavailable("Error 111"), f"Redis is unavailable: Error 111; {UNREACHED}"),
        (WrongKey("k", "k holds"), str(WrongKey("k", "k holds"))),
        (SettingsError("A", 1, "must"), "A: 1 must"),
    ],
)
def test_a_command_says_it_once(error: RedisUnavailable, text: str) -> None:
    assert with_remedy(error) == text
