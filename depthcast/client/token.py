"""The token that a client presents: a text, or a function that gives a fresh one each time."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable

Token = str | Callable[[], str | Awaitable[str]] | None
"""A token; or a function, or coroutine function, that returns one that is still good; or None."""


async def current(token: Token) -> str | None:
    """Return the token to present now; raises whatever a function of the user raises."""
    if not callable(token):
        return token
    given = token()
    return await given if isawaitable(given) else given
