"""Who may do what at a gateway: finds the token of a request, and says what it allows.

Without keys in the settings everybody may read everything, and no token is looked at
(`depthcast.shared.settings.GatewaySettings` says where that is allowed).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.protocol.grant import EVERYTHING, Grant, TokenRefused, grant_of
from depthcast.gateway.protocol.http_head import Head, HeadError, error_body, presented_tokens
from depthcast.gateway.protocol.requests import TOKEN_CHARACTERS_MAX
from depthcast.gateway.runtime.revocations import Revocations
from depthcast.shared.revocation import Revoked
from depthcast.shared.runtime.redis import Connect
from depthcast.shared.settings import GatewaySettings

CHALLENGE: Final = 'WWW-Authenticate: Bearer realm="depthcast"'
RETRY_AFTER: Final = "Retry-After: 1"
_HELP: Final = "send one as Authorization: Bearer, as ?token=, or in an auth message"


class Access:
    """The rules of one process. `checks`: tokens are checked here. `open`: nobody needs one."""

    def __init__(
        self,
        settings: GatewaySettings,
        counters: GatewayCounters,
        connect: Connect,
        on_revoked: Callable[[Revoked], None],
    ) -> None:
        self.counters = counters
        self.checks = settings.takes_tokens
        self.open = not self.checks or settings.anonymous is True
        if self.checks:
            # Imported here: a gateway that takes no tokens loads no cryptography.
            from depthcast.gateway.runtime.key_source import key_source
            from depthcast.gateway.runtime.token_check import TokenCheck

            self._source = key_source(settings)
            self._check = TokenCheck(settings.token_audience, settings.token_issuer)
            self._revocations = Revocations(connect, settings, on_revoked)

    async def run(self) -> None:
        """Keep keys and revocations current until cancelled."""
        if not self.checks or self._source is None:
            await asyncio.Event().wait()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._source.run())
            tasks.create_task(self._revocations.run())

    def failing_s(self, now: float) -> tuple[float, float]:
        """For how long keys, and the list of revoked tokens, could not be read at `now` (monotonic s)."""
        if not self.checks or self._source is None:
            return 0.0, 0.0
        keys, revoked = self._source.failing_since, self._revocations.failing_since
        return now - (keys or now), now - (revoked or now)

    def verify(self, token: str) -> Grant:
        """Return what a token allows now; raises `TokenRefused`."""
        try:
            return self._verify(token)
        except TokenRefused as refused:
            self.counters.token_refused += refused.code == "unauthorized"
            raise

    def _verify(self, token: str) -> Grant:
        from depthcast.gateway.runtime.token_check import UnknownKey

        source, revoked = self._source, self._revocations.revoked
        if source is None or source.keys is None or revoked is None:
            raise TokenRefused("unavailable", "tokens cannot be checked yet; try again in a few seconds")
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise TokenRefused("unauthorized", f"the token is longer than {TOKEN_CHARACTERS_MAX} characters")
        try:
            grant = grant_of(self._check.claims(token, source.keys))
        except UnknownKey as unknown:
            if source.look_again():
                raise TokenRefused("unavailable", "the key of the token is looked up; try again") from None
            raise TokenRefused(unknown.code, unknown.message) from None
        if grant.is_revoked(revoked):
            raise TokenRefused("unauthorized", "the token was revoked")
        return grant

    def of_request(self, head: Head) -> Grant | None:
        """Return what the token of a request allows, None if it lacks one; raises `HeadError`."""
        if not self.checks:
            return EVERYTHING
        tokens = presented_tokens(head)
        if not tokens:
            return EVERYTHING if self.open else None
        if len(tokens) > 1:
            raise HeadError(400, "bad_request", "a request has one token, in one place")
        try:
            return self.verify(tokens[0])
        except TokenRefused as refused:
            raise http_error(refused) from None

    def required(self, head: Head) -> Grant:
        """Return what the token of a request allows; raises `HeadError`, also if it lacks one."""
        grant = self.of_request(head)
        if grant is None:
            self.counters.token_missing += 1
            raise HeadError(401, "unauthorized", f"this gateway wants a token: {_HELP}", (CHALLENGE,))
        return grant

    def guard(self, request: web.Request) -> None:
        """Let only those read metrics whose token says so; raises `web.HTTPException`."""
        if self.open:
            return
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        try:
            grant = self.required(Head("GET", request.path_qs, "HTTP/1.1", headers))
        except HeadError as error:
            raise _exception(error) from None
        if not grant.rights.metrics:
            raise _exception(HeadError(403, "forbidden", "the token does not allow metrics"))


def _exception(error: HeadError) -> web.HTTPException:
    kinds = {401: web.HTTPUnauthorized, 403: web.HTTPForbidden, 503: web.HTTPServiceUnavailable}
    headers = dict(line.split(": ", 1) for line in error.headers)
    body = error_body(error.code, error.message).decode()
    return kinds.get(error.status, web.HTTPBadRequest)(
        text=body, headers=headers, content_type="application/json"
    )


def http_error(refused: TokenRefused) -> HeadError:
    """The error for a request with a token that is refused."""
    if refused.code == "unavailable":
        return HeadError(503, refused.code, refused.message, (RETRY_AFTER,))
    return HeadError(401, refused.code, refused.message, (f'{CHALLENGE}, error="invalid_token"',))
