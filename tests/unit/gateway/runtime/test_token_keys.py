"""Keys of tokens: which are taken, and for which algorithm."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.runtime.token_keys import KEYS_MAX, KeysError, parse_jwk_set, parse_keys, secret_key
from depthcast.runtime.tokens import public_jwk
from tests.tokens import SECRET, pem, private_key

OCT = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode(), "kid": "s"}


def jwk(name: str = "EdDSA", **changes: Any) -> dict[str, Any]:
    table = public_jwk(private_key(name)) | changes
    return {key: value for key, value in table.items() if value is not None}


def jwks(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_is_for_one_algorithm(algorithm: str) -> None:
    [of_pem] = parse_keys(b"a comment\n" + pem(private_key(algorithm)))
    [of_set] = parse_jwk_set(jwks(jwk(algorithm, alg=None, use=None)), public_only=True)
    assert (of_pem.algorithm, of_set.algorithm) == (algorithm, algorithm)
    assert of_pem.kid is None
    assert of_set.kid == jwk(algorithm)["kid"]


def test_a_file_may_have_several_keys() -> None:
    raw = pem(private_key()) + pem(private_key("ES256"))
    assert [key.algorithm for key in parse_keys(raw)] == ["EdDSA", "ES256"]


def test_a_secret() -> None:
    assert secret_key(SECRET).algorithm == "HS256"
    [key] = parse_keys(jwks(OCT))
    assert (key.algorithm, key.key) == ("HS256", SECRET.encode())
    assert SECRET not in repr(key)


OTHERS: dict[str, Any] = {
    "for encryption": {"use": "enc"},
    "for other operations": {"key_ops": ["encrypt"]},
    "for another algorithm": {"alg": "ES256"},
    "of another type": {"kty": "X"},
    "of another curve": {"crv": "Ed448"},
    "malformed": {"x": "!"},
    "a number for a name": {"kid": 7},
    "a long name": {"kid": "x" * 300},
    "private": {"d": "AAAA"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_key_that_does_not_fit_is_left_out(name: str) -> None:
    keys = parse_jwk_set(jwks(jwk(**OTHERS[name]), jwk()), public_only=True)
    assert [key.kid for key in keys] == [jwk()["kid"]]


@pytest.mark.parametrize("other", [OCT, {"kty": "RSA"}, "no key", None, []], ids=repr)
def test_of_the_set_of_others_only_what_fits_is_taken(other: Any) -> None:
    keys = parse_jwk_set(jwks(other, jwk()), public_only=True)
    assert [key.kid for key in keys] == [jwk()["kid"]]


FILES: dict[str, Callable[[], bytes]] = {
    "is neither PEM nor JSON": lambda: b"hunter2",
    "is no JWK set": lambda: b'{"keys": {}}',
    "has no key for": jwks,
    "has a private key": lambda: jwks(jwk(d="AAAA")),
    "32 are the least": lambda: jwks({**OCT, "k": "AAAA"}),
    "cannot be read": lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "does not end": lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA",
    "more than 64": lambda: jwks(*[jwk(kid=str(number)) for number in range(KEYS_MAX + 1)]),
}


@pytest.mark.parametrize("says", FILES)
def test_a_file_that_is_refused(says: str) -> None:
    with pytest.raises(KeysError, match=says):
        parse_keys(FILES[says]())


def test_a_private_key_is_refused_with_the_remedy() -> None:
    raw = private_key("ES256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeysError, match="openssl pkey -pubout"):
        parse_keys(raw)


def test_weak_keys_are_refused() -> None:
    with pytest.raises(KeysError, match="1024 bits"):
        parse_keys(pem(rsa.generate_private_key(public_exponent=65_537, key_size=1024)))  # noqa: S505
    with pytest.raises(KeysError, match="neither RSA, nor of the curve P-256"):
        parse_keys(pem(ec.generate_private_key(ec.SECP384R1())))
    for secret in ("short", pem(private_key("RS256")).decode()):
        with pytest.raises(KeysError) as refused:
            secret_key(secret)
        assert secret not in str(refused.value)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_keys_or_refused(raw: bytes) -> None:
    with pytest.raises(KeysError):
        parse_keys(raw)
