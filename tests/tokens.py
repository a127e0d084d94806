"""Tokens for tests: one signing key for all of them, and tokens made by hand, which no library would make."""

import base64
import json
import time
from functools import cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depthcast.runtime.tokens import PrivateKey

SECRET = "a secret of thirty-two bytes or more"
SUBJECT = "alice"


def private_key(algorithm: str = "EdDSA", name: str = "ours") -> Any:
    """A private key, made once for each algorithm and name."""
    return _made(algorithm, name)


@cache
def _made(algorithm: str, _name: str) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: PrivateKey) -> bytes:
    """The public half of a key, as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


LASTING_S: Final = 86_400
"""Tokens that are made when tests are collected are good whenever these run."""


def claims(symbols: Any = ("*",), **changes: Any) -> dict[str, Any]:
    """Good claims, with `changes`: None leaves one out."""
    now = int(time.time())
    table = {
        "sub": SUBJECT,
        "aud": "depthcast",
        "iat": now,
        "exp": now + LASTING_S,
        "depthcast": {"symbols": list(symbols)},
    }
    return {name: value for name, value in (table | changes).items() if value is not None}


def token(
    symbols: Any = ("*",),
    *,
    algorithm: str = "EdDSA",
    key: Any = None,
    headers: dict[str, Any] | None = None,
    rights: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A signed token. `rights`: more in the claim `depthcast`."""
    table = claims(symbols, **changes)
    if rights:
        table["depthcast"] = table["depthcast"] | rights
    return jwt.encode(table, private_key(algorithm) if key is None else key, algorithm, headers)


def segment(value: Any) -> str:
    """A part of a token: a map, or text as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed_by_hand(header: Any, payload: Any, key: Any = None) -> str:
    """A token with any header and payload, signed by Ed25519 whatever they say."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    signature = (private_key() if key is None else key).sign(signing_input.encode())
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
