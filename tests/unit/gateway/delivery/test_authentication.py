"""What a session may do with a token, with another one, and without any."""

from typing import Any

import pytest

from depthcast.gateway.delivery.credentials import EXPIRY_LEEWAY_US, Credentials
from depthcast.gateway.protocol.grant import EVERYTHING, Grant, Pattern, Rights, TokenRefused
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode
from depthcast.shared.revocation import Revoked
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.model_client import ModelClient, connected, kinds, split_frames
from tests.unit.gateway.small_market import SmallMarket

EXPIRES_US = 2_000_000_000


def grant(*names: str, subject: str = "alice", token_id: str | None = None, **rights: Any) -> Grant:
    """A token for these symbols, or for all; it expires 1,000 s after the market's beginning."""
    patterns = () if names else (Pattern("", ""),)
    return Grant(Rights(frozenset(names), patterns, **rights), subject, token_id, EXPIRES_US)


TOKENS = {
    "all": grant(),
    "a": grant("AAA"),
    "b": grant("BBB"),
    "flat": grant(depth_max=5),
    "slow": grant(interval_min_ms=100),
    "bob": grant(subject="bob"),
    "again": Grant(grant("AAA").rights, "alice", None, 2 * EXPIRES_US),
}


def verify(token: str) -> Grant:
    if token == "later":
        raise TokenRefused("unavailable", "tokens cannot be checked yet")
    if token not in TOKENS:
        raise TokenRefused("unauthorized", "the token has a wrong signature")
    return TOKENS[token]


def client_with(market: SmallMarket, token: str | None) -> ModelClient:
    client = connected(market)
    held = None if token is None else TOKENS[token]
    client.session.credentials = Credentials(held, verify, missing_at=market.now + 10, warning_s=30)
    return client


def market_of(*symbols: str, **settings: Any) -> SmallMarket:
    market = SmallMarket(*(symbols or ("AAA", "BBB")), **settings)
    for symbol in market.books:
        market.publish(symbol, {-3: 4}, {5: 6})
    return market


def sweep(market: SmallMarket, seconds: float) -> list[tuple[Any, CloseCode]]:
    market.now += seconds
    return market.core.sweep(market.now)


@pytest.mark.parametrize(
    "message",
    [
        {"op": "subscribe", "symbols": ["AAA"], "id": 1},
        {"op": "subscribe", "symbols": ["*"], "id": 1},
        {"op": "unsubscribe", "symbols": ["AAA"], "id": 1},
        {"op": "credit", "messages": 1},
    ],
    ids=lambda message: f"{message['op']} {message.get('symbols')}",
)
def test_without_a_token_nothing_is_done(message: dict[str, Any]) -> None:
    client = client_with(market_of(), None)
    [error] = client.send(**message)
    assert (error["code"], error.get("id")) == ("unauthorized", message.get("id"))
    assert client.session.sender.credit is None
    assert not client.session.subscriptions
    assert kinds(client.send(op="ping")) == ["pong"]


def test_a_first_token_opens_the_session() -> None:
    client = client_with(market_of(), None)
    [answer] = client.send(op="auth", token="a", id=7)
    assert answer == {"type": "authenticated", "expires": EXPIRES_US, "id": 7}
    assert kinds(client.subscribe("AAA")) == ["subscribed", "snapshot"]


def test_a_wrong_first_token_ends_the_session() -> None:
    client = client_with(market_of(), None)
    [error] = client.send(op="auth", token="x", id=7)
    assert (error["code"], error["id"]) == ("unauthorized", 7)
    assert client.session.ended is CloseCode.UNAUTHORIZED


def test_a_token_that_cannot_be_checked_now_may_come_again() -> None:
    client = client_with(market_of(), None)
    [error] = client.send(op="auth", token="later")
    assert error["code"] == "unavailable"
    assert client.session.ended is None
    assert kinds(client.send(op="auth", token="a")) == ["authenticated"]


@pytest.mark.parametrize("token", [None, "", 7, ["a"], "x" * 8193])
def test_what_is_no_token_is_not_quoted(token: Any) -> None:
    [error] = client_with(market_of(), None).send(op="auth", token=token)
    assert error["code"] == "bad_request"
    assert "xxx" not in error["message"]


def test_no_token_in_time() -> None:
    market = market_of()
    client = client_with(market, None)
    assert sweep(market, 9.9) == []
    assert sweep(market, 0.2) == [(client.session, CloseCode.UNAUTHORIZED)]
    assert client.take()[-1]["code"] == "unauthorized"
    assert market.core.counters.token_missing == 1


def test_a_symbol_that_is_not_allowed_leaves_the_others() -> None:
    market = market_of()
    client = client_with(market, "a")
    answers = client.subscribe("BBB", "AAA", "NOPE", id=3)
    refused = {message["symbol"]: message["code"] for message in answers if message["type"] == "error"}
    assert refused == {"BBB": "forbidden", "NOPE": "forbidden"}, "nor does it say what there is"
    assert [message["symbol"] for message in answers if message["type"] == "subscribed"] == ["AAA"]
    assert market.core.counters.forbidden == 2


def test_everything_is_what_is_allowed_now_and_later() -> None:
    market = market_of()
    client = client_with(market, "a")
    messages = client.subscribe("*")
    assert {message["symbol"] for message in messages} == {"AAA"}
    assert not [message for message in messages if message["type"] == "error"]
    client.session.credentials.take(grant("AAA", "CCC"))
    for symbol in ("CCC", "DDD"):
        market.books[symbol] = market.BOOK(market.position.epoch)
    market.list_instruments()
    market.load()
    market.tick()
    market.grid()
    assert {message["symbol"] for message in client.take() if "symbol" in message} >= {"CCC"}
    assert client.session.subscriptions.keys() == {"AAA", "CCC"}


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [({"depth": 5}, True), ({"depth": 10}, False), ({"depth": 0}, False), ({"depth": 5, "group": 2}, False)],
)
@pytest.mark.parametrize("symbols", [["AAA"], ["*"]], ids=["named", "all"])
def test_a_greatest_depth(fields: dict[str, int], allowed: bool, symbols: list[str]) -> None:
    client = client_with(market_of("AAA"), "flat")
    messages = client.subscribe(*symbols, **fields)
    assert kinds(messages) == (["subscribed", "snapshot"] if allowed else ["error"])
    assert allowed or messages[0]["code"] == "forbidden"
    assert allowed or client.session.wildcard is None


def test_a_least_interval_is_the_interval() -> None:
    client = client_with(market_of(), "slow")
    assert client.subscribe("AAA", interval_ms=20)[0]["interval_ms"] == 100
    assert client.subscribe("AAA", interval_ms=250)[0]["interval_ms"] == 250


def test_a_least_interval_beyond_the_gateways_longest_is_no_way_around_it() -> None:
    client = client_with(market_of(interval_max_ms=50), "slow")
    assert client.subscribe("AAA")[0]["code"] == "forbidden"


def test_another_token_ends_what_it_does_not_allow() -> None:
    market = market_of()
    client = client_with(market, "all")
    client.subscribe("AAA", "BBB")
    client.take()
    answer, error, ended = client.send(op="auth", token="b", id=1)
    assert answer["type"] == "authenticated"
    assert (error["code"], error["symbol"]) == ("forbidden", "AAA")
    assert ended == {"type": "unsubscribed", "symbol": "AAA", "reason": "forbidden"}
    client.take()
    market.publish("BBB", {-2: 1})
    market.publish("AAA", {-2: 1})
    assert {message["symbol"] for message in client.take()} == {"BBB"}
    client.check_current()


@pytest.mark.parametrize(("token", "held"), [("flat", set()), ("slow", set()), ("a", {"AAA"})])
def test_another_token_holds_for_depths_and_intervals_too(token: str, held: set[str]) -> None:
    client = client_with(market_of(), "all")
    client.subscribe("*", depth=10)
    client.send(op="auth", token=token)
    assert client.session.subscriptions.keys() == held
    assert (client.session.wildcard is None) == (not held)


def test_another_token_brings_what_everything_is_now() -> None:
    client = client_with(market_of(), "a")
    client.subscribe("*")
    client.take()
    messages = client.send(op="auth", token="all")
    assert [message.get("symbol") for message in messages] == [None, "BBB", "BBB"]


def test_a_token_with_the_same_rights_changes_nothing() -> None:
    market = market_of()
    client = client_with(market, "a")
    client.subscribe("AAA")
    client.take()
    assert kinds(client.send(op="auth", token="again")) == ["authenticated"]
    assert client.session.credentials.grant is TOKENS["again"]


@pytest.mark.parametrize("token", ["x", "bob"])
def test_a_wrong_later_token_leaves_the_one_before(token: str) -> None:
    client = client_with(market_of(), "a")
    client.subscribe("AAA")
    client.take()
    [error] = client.send(op="auth", token=token)
    assert error["code"] == "unauthorized"
    assert client.session.ended is None
    assert client.session.credentials.grant is TOKENS["a"]


def test_tokens_are_not_tried_without_end() -> None:
    client = client_with(market_of(subscriptions_max=10, subscription_changes_per_s=1), "a")
    codes = [client.send(op="auth", token="x")[0]["code"] for _ in range(5)]
    assert codes[0] == "unauthorized"
    assert codes[-1] == "rate_limited"


def test_a_warning_comes_once_and_then_the_end() -> None:
    market = market_of(heartbeat_ms=600_000)
    client = client_with(market, "a")
    client.subscribe("AAA")
    client.take()
    market.now = EXPIRES_US / 1e6 - 31
    assert sweep(market, 0) == []
    assert kinds(client.take()) == []
    assert sweep(market, 1.5) == []
    assert client.take() == [{"type": "expiring", "expires": EXPIRES_US}]
    assert sweep(market, 29.6) == []
    assert sweep(market, EXPIRY_LEEWAY_US / 1e6) == [(client.session, CloseCode.UNAUTHORIZED)]
    assert client.take()[-1]["message"] == "the token has expired"
    assert market.core.counters.token_expired == 1


def test_a_fresh_token_puts_the_end_off() -> None:
    market = market_of(heartbeat_ms=600_000)
    client = client_with(market, "a")
    client.subscribe("AAA")
    market.now = EXPIRES_US / 1e6 - 10
    sweep(market, 0)
    client.take()
    client.send(op="auth", token="again")
    assert sweep(market, 100) == []
    assert kinds(client.take())[-1:] != ["expiring"]
    market.now = 2 * EXPIRES_US / 1e6 - 10
    sweep(market, 0)
    assert kinds(client.take())[-1] == "expiring"


@pytest.mark.parametrize(
    ("revoked", "ends"),
    [
        (Revoked(subjects=frozenset({"alice"})), True),
        (Revoked(token_ids=frozenset({"t1"})), True),
        (Revoked(subjects=frozenset({"bob"}), token_ids=frozenset({"t2"})), False),
    ],
)
def test_a_token_that_is_revoked_ends_its_session(revoked: Revoked, ends: bool) -> None:
    market = market_of()
    client, other = client_with(market, "a"), connected(market)
    client.session.credentials.take(grant("AAA", token_id="t1"))
    client.subscribe("AAA")
    other.subscribe("AAA")
    market.core.revoke(revoked)
    assert sweep(market, 0) == ([(client.session, CloseCode.UNAUTHORIZED)] if ends else [])


def test_where_no_tokens_are_taken_auth_is_no_operation() -> None:
    [error] = connected(market_of()).send(op="auth", token="t", id=4)
    assert (error["code"], error["id"]) == ("unknown_op", 4)


@pytest.mark.parametrize(
    ("held", "said"),
    [(EVERYTHING, {}), (None, {"auth": "required"}), (TOKENS["a"], {"auth": "token", "expires": EXPIRES_US})],
    ids=["no tokens", "without", "with"],
)
def test_the_welcome_says_whether_a_token_is_wanted(held: Grant | None, said: dict[str, Any]) -> None:
    import orjson

    writer = FakeWriter(8192, reads=True)
    market_of().core.open(writer, Encoding.JSON, "name", 0.0, Credentials(held, verify))
    [(_, payload)] = split_frames(writer.taken)
    welcome = orjson.loads(payload)
    assert {name: welcome[name] for name in ("auth", "expires") if name in welcome} == said
