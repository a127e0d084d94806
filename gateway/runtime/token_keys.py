"""Reads the keys that tokens are checked with: PEM, a JWK set (RFC 7517), or a secret.

A key is for one algorithm, which its own kind decides, never a token. So nobody can have a public key taken
for a secret.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")
KEYS_MAX: Final = 64
SECRET_BYTES_MIN: Final = 32
RSA_BITS_MIN: Final = 2048
KID_CHARACTERS_MAX: Final = 256
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_PUBLIC: Final = b"PUBLIC KEY"


class KeysError(Exception):
    """Keys that cannot be used; the text says why, and has nothing of them."""


class Key(NamedTuple):
    """A key for one algorithm; `kid`: its name, None if it has none."""

    algorithm: str
    key: PublicKey | bytes
    kid: str | None = None

    def __repr__(self) -> str:
        return f"Key({self.algorithm}, kid={self.kid!r})"


def secret_key(secret: str) -> Key:
    """Return the key of a shared secret; raises `KeysError`."""
    raw = secret.encode()
    if b"-----BEGIN" in raw:
        raise KeysError("is a PEM, not a secret; name its file in DEPTHCAST_TOKEN_KEYS")
    return Key("HS256", _strong(raw))


def parse_keys(raw: bytes) -> list[Key]:
    """Return the keys in a file of ours: PEM of public keys, or a JWK set; raises `KeysError`."""
    if b"-----BEGIN" in raw:
        keys = [_of_pem(found[0], found[1]) for found in _PEM.finditer(raw)]
        if not keys:
            raise KeysError("has a PEM that does not end")
        return _bounded(keys)
    return parse_jwk_set(raw, public_only=False)


def parse_jwk_set(raw: bytes, *, public_only: bool) -> list[Key]:
    """Return the usable keys of a JWK set; raises `KeysError`.

    Keys for other purposes and algorithms are left out. `public_only`: it comes from elsewhere, so secrets
    and private keys in it are left out too; in a file of ours, a private key is an error.
    """
    try:
        table = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise KeysError("is neither PEM nor JSON") from None
    listed = table.get("keys") if isinstance(table, dict) else None
    if not isinstance(listed, list):
        raise KeysError('is no JWK set: a map with the list "keys"')
    return _bounded([key for item in listed if (key := _of_jwk(item, public_only=public_only)) is not None])


def _bounded(keys: Sequence[Key]) -> list[Key]:
    if not keys:
        raise KeysError(f"has no key for {', '.join(ALGORITHMS)}")
    if len(keys) > KEYS_MAX:
        raise KeysError(f"has {len(keys)} keys, more than {KEYS_MAX}")
    return list(keys)


def _of_pem(raw: bytes, kind: bytes) -> Key:
    if kind != _PUBLIC:
        text = kind.decode().lower()
        raise KeysError(f"has a {text}; a gateway gets the public key alone: openssl pkey -pubout makes it")
    try:
        return _of_public(load_pem_public_key(raw), None)
    except (ValueError, UnsupportedAlgorithm):
        raise KeysError("has a public key that cannot be read") from None


def _of_public(key: object, kid: str | None) -> Key:
    if isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise KeysError(f"has an RSA key of {key.key_size} bits; {RSA_BITS_MIN} are the least")
        return Key("RS256", key, kid)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return Key("ES256", key, kid)
    if isinstance(key, Ed25519PublicKey):
        return Key("EdDSA", key, kid)
    raise KeysError("has a key that is neither RSA, nor of the curve P-256, nor Ed25519")


def _of_jwk(item: Any, *, public_only: bool) -> Key | None:
    """The key of one item of a set; None if it is for something else."""
    if not isinstance(item, dict) or item.get("use", "sig") != "sig":
        return None
    if "verify" not in item.get("key_ops", ["verify"]):
        return None
    kid, kind = item.get("kid"), item.get("kty")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= KID_CHARACTERS_MAX):
        return None
    if kind == "oct":
        return None if public_only else _of_oct(item, kid)
    if "d" in item:
        if public_only:
            return None
        raise KeysError("has a private key; a gateway gets the public keys alone")
    return _of_public_jwk(item, kid)


def _of_public_jwk(item: Mapping[str, Any], kid: str | None) -> Key | None:
    try:
        key = _of_public(jwt.PyJWK(dict(item)).key, kid)
    except (jwt.PyJWTError, KeysError, ValueError, TypeError, KeyError):
        return None
    return key if item.get("alg", key.algorithm) == key.algorithm else None


def _of_oct(item: Mapping[str, Any], kid: str | None) -> Key | None:
    if item.get("alg", "HS256") != "HS256":
        return None
    try:
        raw = jwt.PyJWK(dict(item), "HS256").key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return Key("HS256", _strong(bytes(raw)), kid)


def _strong(raw: bytes) -> bytes:
    if len(raw) < SECRET_BYTES_MIN:
        raise KeysError(f"has a secret of {len(raw)} bytes; {SECRET_BYTES_MIN} are the least")
    return raw
