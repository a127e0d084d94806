"""Makes keys and tokens for development and for small deployments, by PyJWT.

A service that logs users in makes its own tokens; these show what must be in them.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from depthcast.shared.errors import DepthcastError

SIGNING_FILE: Final = "signing.pem"
KEYS_FILE: Final = "keys.json"
SECRET_FILE: Final = "secret"  # noqa: S105  # the name of a file
RSA_BITS: Final = 3072
SECRET_BYTES: Final = 48
AUDIENCE: Final = "depthcast"
_THUMBPRINT: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
"""Members of a JWK that its thumbprint covers (RFC 7638), in order."""

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class TokenToolError(DepthcastError):
    """A key cannot be made or used; the text has nothing of it."""


def make_keys(folder: Path, algorithm: str) -> list[Path]:
    """Write a new key pair, or a secret for HS256, into `folder`; returns the files.

    The signing key may be read by its owner alone. Raises `TokenToolError`, also if a file is there already.
    """
    if algorithm == "HS256":
        secret = folder / SECRET_FILE
        _write(secret, secrets.token_urlsafe(SECRET_BYTES).encode() + b"\n", 0o600)
        return [secret]
    key = _new_key(algorithm)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    jwk = public_jwk(key)
    signing, keys = folder / SIGNING_FILE, folder / KEYS_FILE
    _write(signing, pem, 0o600)
    _write(keys, json.dumps({"keys": [jwk]}, indent=1).encode() + b"\n", 0o644)
    return [signing, keys]


def _new_key(algorithm: str) -> PrivateKey:
    if algorithm == "RS256":
        return generate_rsa_key(public_exponent=65_537, key_size=RSA_BITS)
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    return Ed25519PrivateKey.generate()


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(number, "wb") as file:
            file.write(data)
    except FileExistsError:
        raise TokenToolError(f"{path} is there already; name another folder, or move it away") from None
    except OSError as error:
        raise TokenToolError(f"{path} cannot be written: {error.strerror}") from None


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """Return the public half of a key as a JWK, named by its thumbprint."""
    jwk = _jwk(key.public_key())
    covered = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    digest = hashlib.sha256(json.dumps(covered, separators=(",", ":")).encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {**covered, "use": "sig", "alg": algorithm_of(key), "kid": kid}


def _jwk(key: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey) -> dict[str, Any]:
    if isinstance(key, RSAPublicKey):
        return dict(RSAAlgorithm.to_jwk(key, as_dict=True))
    if isinstance(key, EllipticCurvePublicKey):
        return dict(ECAlgorithm.to_jwk(key, as_dict=True))
    return dict(OKPAlgorithm.to_jwk(key, as_dict=True))


def algorithm_of(key: PrivateKey) -> str:
    """Return the algorithm that a private key signs by."""
    if isinstance(key, RSAPrivateKey):
        return "RS256"
    return "ES256" if isinstance(key, EllipticCurvePrivateKey) else "EdDSA"


def sign(claims: Mapping[str, Any], signing_key: Path) -> str:
    """Return a token with these claims, signed with the key in a file; raises `TokenToolError`."""
    raw = _read(signing_key)
    if b"-----BEGIN" not in raw:
        return jwt.encode(dict(claims), raw.decode().strip(), "HS256")
    try:
        key = load_pem_private_key(raw, None)
    except (ValueError, TypeError):
        raise TokenToolError(
            f"{signing_key} has no private key that can be read without a password"
        ) from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise TokenToolError(f"{signing_key} has a key that is neither RSA, nor P-256, nor Ed25519")
    return jwt.encode(dict(claims), key, algorithm_of(key), {"kid": public_jwk(key)["kid"]})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TokenToolError(f"{path} cannot be read: {error.strerror}") from None
