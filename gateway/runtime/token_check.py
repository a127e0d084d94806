"""Checks a token by PyJWT: form, signature, times, audience and issuer (RFC 7519, RFC 8725).

What the token says of keys in its own header (`jku`, `x5u`, `jwk`) is not looked at. Its `kid` chooses among
the keys that the operator named, and that is all. Nothing of a token is in an error.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

import jwt

from depthcast.gateway.protocol.grant import TokenRefused
from depthcast.gateway.runtime.token_keys import ALGORITHMS, KID_CHARACTERS_MAX, Key

LEEWAY_S: Final = 5
"""Clocks of issuer and gateway may differ by this much."""
TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""What `typ` may say: other kinds of tokens are signed with the same keys, but for other purposes."""
CANDIDATES_MAX: Final = 8
"""Keys that are tried for a token which names none: each costs time, for everybody who sends garbage."""
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_TIMES: Final = ("exp", "nbf", "iat")


class UnknownKey(TokenRefused):
    """The token names a key that is not among ours."""


class TokenCheck:
    """The rules for tokens; empty `issuer`: of any."""

    def __init__(self, audience: str, issuer: str) -> None:
        self.audience = audience
        self.issuer = issuer

    def claims(self, token: str, keys: Sequence[Key]) -> dict[str, Any]:
        """Return the claims of a token that is valid now; raises `TokenRefused`."""
        form = _FORM.fullmatch(token)
        if form is None:
            raise _refused("is no signed JWT")
        candidates = _candidates(_segment(form[1]), keys)
        for key in candidates:
            try:
                self._verify(token, key)
            except jwt.InvalidSignatureError:
                continue
            return _claims(form[2])
        raise _refused("has a wrong signature")

    def _verify(self, token: str, key: Key) -> None:
        """Check everything with one key; raises `jwt.InvalidSignatureError` or `TokenRefused`."""
        try:
            jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer or None,
                leeway=LEEWAY_S,
                options={"require": ["exp"]},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError:
            raise _refused("has expired") from None
        except jwt.ImmatureSignatureError:
            raise _refused("is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise _refused("is for another audience") from None
        except jwt.InvalidIssuerError:
            raise _refused("is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise _refused("is not valid") from None


def _candidates(header: dict[str, Any], keys: Sequence[Key]) -> list[Key]:
    """The keys that a header allows to try; raises `TokenRefused`."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _refused(f"is not signed by {', '.join(ALGORITHMS[:-1])} or {ALGORITHMS[-1]}")
    if "crit" in header:
        raise _refused("has crit in its header, whose extensions are not known here")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise _refused("is of another type (typ) than JWT or at+jwt")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= KID_CHARACTERS_MAX):
        raise _refused("has a kid that is no short text")
    named = [key for key in keys if kid is None or key.kid is None or key.kid == kid]
    if not named:
        raise UnknownKey("unauthorized", "the token is signed with a key that is not known here")
    fitting = [key for key in named if key.algorithm == algorithm]
    if len(fitting) > CANDIDATES_MAX:
        raise _refused("names none of many keys by its kid")
    if not fitting:
        raise _refused("is signed by another algorithm than its key is for")
    return fitting


def _claims(segment: str) -> dict[str, Any]:
    claims = _segment(segment)
    for name in _TIMES:
        if isinstance(claims.get(name), bool):
            raise _refused(f"has {name} that is no time")
    return claims


def _segment(text: str) -> dict[str, Any]:
    """The map in a part of a token; raises `TokenRefused`, also for a key that is in it twice."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        found = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (binascii.Error, ValueError, RecursionError):
        raise _refused("is not valid") from None
    if not isinstance(found, dict):
        raise _refused("is not valid")
    return found


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError("a key twice")
        table[key] = value
    return table


def _no_number(_text: str) -> NoReturn:
    raise ValueError("no number")


def _refused(what: str) -> TokenRefused:
    return TokenRefused("unauthorized", f"the token {what}")
