"""Users of a server that tests make."""

from urllib.parse import urlsplit, urlunsplit


def with_login(url: str, user: str, password: str) -> str:
    """The address of the same server for this user."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))
