"""Carries out `auth`: the first token of a connection, or another in its place (`docs/protocol.md`, 3.7)."""

from collections.abc import Callable, Iterator
from typing import Final

from depthcast.gateway.delivery.session import Session
from depthcast.gateway.protocol.grant import Grant, Rights, TokenRefused
from depthcast.gateway.protocol.requests import Auth
from depthcast.shared.close_codes import CloseCode

AUTH_COST: Final = 100
"""Of the allowance of subscription changes: a signature costs about as much time to check."""
SYMBOLS_PER_STEP: Final = 32

Begin = Callable[[Rights], Iterator[bool | None]]
"""Subscribes to the symbols that `*` brings now, but did not with the rights before; some in each step."""


def authenticate(session: Session, request: Auth, begin: Begin) -> Iterator[bool | None]:
    """Check a token and take it; then end what it does not allow, and begin what it does.

    A wrong first token ends the session. With a wrong later one, the token before still holds.
    """
    credentials, sender = session.credentials, session.sender
    before = credentials.grant
    try:
        grant = _verified(session, request)
    except TokenRefused as refused:
        sender.refuse(refused.code, refused.message, request.id)
        if before is None:
            session.ended = _ENDS.get(refused.code)
        return
    credentials.take(grant)
    sender.send({"type": "authenticated", "expires": grant.expires_us}, request.id)
    if before is not None and before.rights != grant.rights:
        yield from _end_forbidden(session)
        yield from _extend(session, before.rights, begin)


_ENDS: Final = {"unauthorized": CloseCode.UNAUTHORIZED, "rate_limited": CloseCode.RATE_LIMIT}


def _verified(session: Session, request: Auth) -> Grant:
    """Return what the token of a request allows; raises `TokenRefused`."""
    verify, before = session.credentials.verify, session.credentials.grant
    if verify is None:
        raise TokenRefused("unknown_op", "this gateway takes no tokens; everything may be read without one")
    session.refill_changes()
    if session.changes.left < 0:
        session.counters.limit_subscription_changes += 1
        raise TokenRefused("rate_limited", "too many tokens, or changes of subscriptions; try again later")
    session.changes.left -= AUTH_COST
    grant = verify(request.token)
    if before is not None and before.expires_us is not None and before.subject != grant.subject:
        raise TokenRefused(
            "unauthorized", "the token is of another subject than the connection; open another connection"
        )
    return grant


def _end_forbidden(session: Session) -> Iterator[None]:
    """End the subscriptions that the token does not allow, with an error each."""
    for number, symbol in enumerate(list(session.subscriptions), 1):
        subscription = session.subscriptions.get(symbol)
        if subscription is None:
            continue
        channel, group = subscription
        refusal = session.credentials.refusal(symbol, channel.depth, group.interval_ms, channel.group_ticks)
        if refusal is not None:
            session.counters.forbidden += 1
            session.end_forbidden(symbol, refusal)
        if number % SYMBOLS_PER_STEP == 0:
            yield


def _extend(session: Session, before: Rights, begin: Begin) -> Iterator[bool | None]:
    """Let a subscription to `*` bring what was not allowed before, or end if nothing of it is allowed."""
    wildcard = session.wildcard
    if wildcard is None:
        return
    if session.credentials.limit(wildcard.depth, wildcard.interval_ms, wildcard.group_ticks) is not None:
        session.wildcard = None
        return
    yield from begin(before)
