"""Tokens that are not what they should be: each is refused, and nothing of it is in the error."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import base64url_decode

from depthcast.gateway.protocol.grant import TokenRefused
from depthcast.gateway.runtime.token_check import CANDIDATES_MAX, LEEWAY_S, TokenCheck, UnknownKey
from depthcast.gateway.runtime.token_keys import ALGORITHMS, Key, parse_keys, secret_key
from tests.tokens import SECRET, claims, pem, private_key, segment, signed_by_hand, token

HEADER = {"alg": "EdDSA", "typ": "JWT"}
SHOWN = "Zm9yIG5vYm9keQ"
"""Part of a token that must be in no error."""


def keys() -> list[Key]:
    """Ours: a public key of each kind, and no secret."""
    return [key for name in ("RS256", "ES256", "EdDSA") for key in parse_keys(pem(private_key(name)))]


def check(made: str, held: list[Key] | None = None, issuer: str = "") -> dict[str, Any]:
    return TokenCheck("depthcast", issuer).claims(made, keys() if held is None else held)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token(algorithm: str) -> None:
    held = [secret_key(SECRET)] if algorithm == "HS256" else keys()
    made = token(algorithm=algorithm, key=SECRET if algorithm == "HS256" else None)
    assert check(made, held)["sub"] == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["other", "depthcast"]},
        {"nbf": 1},
        {"iat": None},
        {"unknown": {"a": 1}},
        {"iss": "https://id"},
    ],
)
def test_what_a_good_token_may_have(changes: dict[str, Any]) -> None:
    assert check(token(**changes))


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert check(token(exp=now - 1, iat=now + LEEWAY_S - 2))


def confused() -> str:
    """HS256, with the public RSA key for a secret; the library refuses to make it."""
    import hashlib
    import hmac
    from base64 import urlsafe_b64encode

    signing_input = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(claims())}"
    signature = hmac.new(pem(private_key("RS256")), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


MISUSE: dict[str, tuple[Callable[[], str], str]] = {
    "nothing": (lambda: "", "is no signed JWT"),
    "no token": (lambda: "hunter2", "is no signed JWT"),
    "four parts": (lambda: f"{token()}.x", "is no signed JWT"),
    "a blank": (lambda: f" {token()}", "is no signed JWT"),
    "padding": (lambda: f"{token()}=", "is no signed JWT"),
    "no signature": (lambda: token().rpartition(".")[0] + ".", "is no signed JWT"),
    "alg none": (lambda: f"{segment({'alg': 'none'})}.{segment(claims())}.x", "is not signed by"),
    "alg None": (lambda: f"{segment({'alg': 'None'})}.{segment(claims())}.x", "is not signed by"),
    "no alg": (lambda: signed_by_hand({"typ": "JWT"}, claims()), "is not signed by"),
    "alg is a list": (lambda: signed_by_hand({"alg": ["EdDSA"]}, claims()), "is not signed by"),
    "another algorithm": (lambda: signed_by_hand({"alg": "HS512"}, claims()), "is not signed by"),
    "key confusion": (confused, "is signed by another algorithm"),
    "the key of another": (lambda: token(key=private_key("EdDSA", "theirs")), "has a wrong signature"),
    "another of ours": (lambda: signed_by_hand({"alg": "RS256"}, claims()), "has a wrong signature"),
    "changed claims": (
        lambda: ".".join([token().split(".")[0], segment(claims(sub="bob")), token().split(".")[2]]),
        "has a wrong signature",
    ),
    "expired": (lambda: token(exp=int(time.time()) - 60), "has expired"),
    "never expires": (lambda: token(exp=None), "has no exp"),
    "never ends": (lambda: signed_by_hand(HEADER, '{"aud":"depthcast","exp":1e400}'), "is not valid"),
    "not yet valid": (lambda: token(nbf=int(time.time()) + 60), "is not valid yet"),
    "issued later": (lambda: token(iat=int(time.time()) + 60), "is not valid yet"),
    "another audience": (lambda: token(aud="chat"), "is for another audience"),
    "no audience": (lambda: token(aud=None), "has no aud"),
    "an audience that is a map": (lambda: token(aud={"depthcast": 1}), "is for another audience"),
    "an id token": (lambda: token(headers={"typ": "logout+jwt"}), "is of another type"),
    "a critical extension": (
        lambda: signed_by_hand({**HEADER, "crit": ["exp"], "exp": 1}, claims()), "has crit",
    ),
    "claims twice": (
        lambda: signed_by_hand(HEADER, '{"sub":"a","exp":9999999999,"aud":"depthcast","sub":"b"}'),
        "is not valid",
    ),
    "a header twice": (lambda: signed_by_hand('{"alg":"EdDSA","alg":"none"}', claims()), "is not valid"),
    "a deep header": (lambda: f"{segment('[' * 3000)}.{segment(claims())}.x", "is not valid"),
    "a list for claims": (lambda: signed_by_hand(HEADER, "[1]"), "is not valid"),
    "deep claims": (lambda: signed_by_hand(HEADER, "[" * 3000), "is not valid"),
    "exp is true": (
        lambda: signed_by_hand(HEADER, '{"aud":"depthcast","exp":true}'), "",
    ),
    "NaN": (lambda: signed_by_hand(HEADER, '{"aud":"depthcast","exp":9999999999,"x":NaN}'), "is not valid"),
    "kid is a map": (lambda: signed_by_hand({**HEADER, "kid": {}}, claims()), "has a kid"),
    "kid is a path": (lambda: signed_by_hand({**HEADER, "kid": "/" * 300}, claims()), "has a kid"),
    "a detached payload": (lambda: signed_by_hand({**HEADER, "b64": False}, claims()), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSE)
def test_a_token_that_is_refused(name: str) -> None:
    make, says = MISUSE[name]
    with pytest.raises(TokenRefused) as refused:
        check(make())
    assert refused.value.code == "unauthorized"
    assert says in refused.value.message


@pytest.mark.parametrize("parameter", ["jku", "x5u", "jwk", "x5c"])
def test_a_token_cannot_bring_its_own_key(parameter: str) -> None:
    """Neither is one fetched: nothing here has a network."""
    theirs = private_key("EdDSA", "theirs")
    value: Any = "http://127.0.0.1:1/keys"
    if parameter == "jwk":
        value = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}
    made = token(key=theirs, headers={parameter: value})
    with pytest.raises(TokenRefused, match="has a wrong signature"):
        check(made)
    assert check(token(headers={parameter: value})), "it is ignored, and harms no good token"


def test_another_issuer() -> None:
    assert check(token(iss="https://id"), issuer="https://id")
    for made in (token(iss="https://evil"), token()):
        with pytest.raises(TokenRefused):
            check(made, issuer="https://id")


def test_a_kid_chooses_among_our_keys() -> None:
    held = [
        parse_keys(pem(private_key()))[0]._replace(kid="old"),
        parse_keys(pem(private_key("EdDSA", "new")))[0]._replace(kid="new"),
    ]
    new = private_key("EdDSA", "new")
    assert check(token(key=new, headers={"kid": "new"}), held)
    assert check(token(key=new), held), "without a kid, every key is tried"
    with pytest.raises(TokenRefused, match="wrong signature"):
        check(token(key=new, headers={"kid": "old"}), held)
    with pytest.raises(UnknownKey):
        check(token(key=new, headers={"kid": "next"}), held)


@given(text=st.text(max_size=60) | st.text("abcABC019-_.", max_size=60), good=st.booleans())
def test_whatever_comes_is_refused_and_not_quoted(text: str, good: bool) -> None:
    made = f"{segment(HEADER)}.{text}.{SHOWN}" if good else text
    with pytest.raises(TokenRefused) as refused:
        check(made)
    assert SHOWN not in refused.value.message


@given(place=st.integers(0), bit=st.integers(0, 5))
def test_a_token_with_any_change_is_refused(place: int, bit: int) -> None:
    made = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place %= len(made) - 1  # the last character has bits that mean nothing
    if made[place] == "." or place + 1 == made.index("."):
        return
    other = alphabet[alphabet.index(made[place]) ^ (1 << bit)]
    changed = made[:place] + other + made[place + 1 :]
    if base64url_decode(changed.split(".")[1]) == base64url_decode(made.split(".")[1]):
        return
    with pytest.raises(TokenRefused):
        check(changed)


def test_a_token_that_names_no_key_is_not_tried_with_many() -> None:
    [ours] = parse_keys(pem(private_key()))
    many = [ours._replace(kid=str(number)) for number in range(CANDIDATES_MAX + 1)]
    assert check(token(), many[1:])
    assert check(token(headers={"kid": "3"}), many)
    with pytest.raises(TokenRefused, match="names none of many keys"):
        check(token(), many)
