"""What claims allow; a claim that is not understood is never ignored."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.protocol.grant import EVERYTHING, TokenRefused, grant_of
from depthcast.shared.revocation import Revoked

CLAIMS = {"sub": "alice", "jti": "t1", "exp": 2_000_000_000}


def made(**rights: Any) -> Any:
    return grant_of(CLAIMS | {"depthcast": {"symbols": ["*"]} | rights})


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("BTC-USD", ["BTC-USD"], ["BTC-USDT", "XBTC-USD", "btc-usd", ""]),
        ("BTC-*", ["BTC-USD", "BTC-"], ["BTC", "ETH-BTC-"]),
        ("*-USD", ["BTC-USD", "-USD"], ["USD", "BTC-USDT"]),
        ("A*A", ["AA", "ABA"], ["A", "AB"]),
        ("*", ["A", "BTC-USD"], []),
        ("A.C", ["A.C"], ["ABC"]),
    ],
)
def test_a_pattern(pattern: str, fits: list[str], others: list[str]) -> None:
    rights = made(symbols=[pattern]).rights
    assert [symbol for symbol in fits + others if rights.may_read(symbol)] == fits


def test_everything_is_read_without_tokens_and_nothing_else_by_default() -> None:
    assert EVERYTHING.rights.may_read("ANY")
    assert EVERYTHING.rights.limit(0, 1000) is None
    assert EVERYTHING.expires_us is None
    assert EVERYTHING.rights.all_symbols
    assert not made(symbols=["A*"]).rights.all_symbols


@pytest.mark.parametrize(
    ("depth", "group", "allowed"), [(1, 1, True), (10, 1, True), (25, 1, False), (0, 1, False), (5, 2, False)]
)
def test_a_greatest_depth_holds_for_full_books_and_groups_too(depth: int, group: int, allowed: bool) -> None:
    assert (made(depth_max=10).rights.limit(depth, group) is None) == allowed


def test_a_refusal_does_not_say_whether_there_is_such_a_symbol() -> None:
    assert made(symbols=["A"]).rights.refusal("B", 1) == "the token does not allow 'B'"


def test_what_is_in_a_grant() -> None:
    grant = made(interval_min_ms=100, connections_max=2, metrics=True)
    assert (grant.subject, grant.token_id, grant.expires_us) == ("alice", "t1", 2_000_000_000_000_000)
    assert (grant.rights.interval_min_ms, grant.connections_max, grant.rights.metrics) == (100, 2, True)


@pytest.mark.parametrize(
    ("revoked", "is_revoked"),
    [
        (Revoked(), False),
        (Revoked(subjects=frozenset({"alice"})), True),
        (Revoked(token_ids=frozenset({"t1"})), True),
        (Revoked(subjects=frozenset({"t1"}), token_ids=frozenset({"alice"})), False),
    ],
)
def test_who_is_revoked(revoked: Revoked, is_revoked: bool) -> None:
    assert made().is_revoked(revoked) == is_revoked


def test_a_token_without_an_id_is_not_revoked_by_the_ids_of_others() -> None:
    claims = {"sub": "a", "exp": 1, "depthcast": {"symbols": ["*"]}}
    assert not grant_of(claims).is_revoked(Revoked(token_ids=frozenset({"t1"})))


@pytest.mark.parametrize(
    "rights",
    [
        None, [], "all", {}, {"symbols": []}, {"symbols": "BTC-USD"}, {"symbols": {"A": 1}}, {"symbols": [1]},
        {"symbols": [""]}, {"symbols": ["A*B*"]}, {"symbols": ["**"]}, {"symbols": ["A B"]},
        {"symbols": ["x" * 70]}, {"symbols": [f"A{n}*" for n in range(33)]},
        {"symbols": ["*"], "depth_max": 0}, {"symbols": ["*"], "depth_max": "10"},
        {"symbols": ["*"], "depth_max": True}, {"symbols": ["*"], "depth_max": None},
        {"symbols": ["*"], "depth_max": 1.5}, {"symbols": ["*"], "interval_min_ms": -1},
        {"symbols": ["*"], "connections_max": 0}, {"symbols": ["*"], "metrics": 1},
        {"symbols": ["*"], "region": "eu"},
    ],
)  # fmt: skip
def test_claims_that_are_not_understood_allow_nothing(rights: Any) -> None:
    with pytest.raises(TokenRefused) as refused:
        grant_of(CLAIMS | {"depthcast": rights})
    assert refused.value.code == "unauthorized"


@pytest.mark.parametrize(
    "changes",
    [{"exp": None}, {"exp": True}, {"exp": "1"}, {"exp": 1e30}, {"exp": -1}, {"sub": ""}, {"sub": 7},
     {"sub": "x" * 257}, {"jti": []}],
)  # fmt: skip
def test_what_a_token_must_have(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        grant_of(CLAIMS | {"depthcast": {"symbols": ["*"]}} | changes)


def test_a_token_has_a_subject() -> None:
    with pytest.raises(TokenRefused, match="has no sub"):
        grant_of({"exp": 1, "depthcast": {"symbols": ["*"]}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["symbols", "depth_max", "interval_min_ms", "connections_max", "metrics"])


@given(rights=st.dictionaries(NAMES, JSON, max_size=4) | JSON, exp=JSON, sub=JSON)
def test_whatever_is_signed_is_a_grant_or_refused(rights: Any, exp: Any, sub: Any) -> None:
    said = ""
    try:
        grant_of({"depthcast": rights, "exp": exp, "sub": sub})
    except TokenRefused as refused:
        said = refused.message
    assert len(said) < 300
