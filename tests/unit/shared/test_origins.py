"""Which pages may use a gateway."""

import pytest

from depthcast.shared.origins import Origins, frame_sources


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://books.example:8080", "books.example:8080", True),
        ("HTTP://Books.Example:8080", "books.EXAMPLE:8080", True),
        ("http://books.example", "books.example", True),
        ("http://books.example", "books.example:80", True),
        ("http://books.example:80", "books.example", True),
        ("https://books.example", "books.example", True),
        ("https://books.example", "books.example:443", True),
        ("https://books.example", "books.example:80", False),
        ("http://books.example", "books.example:8080", False),
        ("http://evil.example", "books.example", False),
        ("http://books.example.evil.example", "books.example", False),
        ("http://books.example@evil.example", "books.example", False),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://127.0.0.1:8080", "localhost:8080", False),
        ("null", "books.example", False),
        ("file://", "books.example", False),
        ("", "books.example", False),
        ("http://books.example/path", "books.example", False),
        ("http://books.example", "", False),
    ],
)
def test_by_default_only_the_own_pages(origin: str, host: str, same: bool) -> None:
    assert Origins("self").allow(origin, host) is same


def test_the_scheme_counts_where_it_is_known() -> None:
    assert Origins("self").allow("https://a.example", "a.example", "https")
    assert Origins("self").allow("https://a.example", "a.example", "HTTPS")
    assert not Origins("self").allow("http://a.example", "a.example", "https")


def test_a_list_allows_what_it_names_and_nothing_else() -> None:
    origins = Origins("https://Shop.example, http://localhost:3000")
    assert origins.allow("https://shop.example", "books.example")
    assert origins.allow("https://shop.example:443", "books.example")
    assert origins.allow("http://localhost:3000", "books.example")
    assert not origins.allow("http://shop.example", "books.example")
    assert not origins.allow("https://www.shop.example", "books.example")
    assert not origins.allow("https://books.example", "books.example"), "self was not named"
    assert origins.names("https://shop.example")
    assert not origins.names("https://books.example")


def test_any_and_null() -> None:
    assert Origins("*").allow("null", "")
    assert Origins("*").names("https://a.example")
    assert Origins("self, null").allow("null", "books.example")
    assert not Origins("").allow("http://books.example", "books.example")


@pytest.mark.parametrize("text", ["example.com", "https://", "https://a/b", "self https://a"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        Origins(text)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("", "'none'"),
        ("self", "'self'"),
        ("*", "*"),
        ("self, HTTPS://shop.example:8443", "'self' https://shop.example:8443"),
    ],
)
def test_pages_that_may_frame_ours(text: str, sources: str) -> None:
    assert frame_sources(text) == sources


@pytest.mark.parametrize(
    "text", ["none", "shop.example", "https://a; script-src *", "https://a b", "https://a/x", "null"]
)
def test_what_is_no_origin_frames_nothing(text: str) -> None:
    """Above all nothing that would end the directive and begin another one."""
    with pytest.raises(ValueError, match="is no origin"):
        frame_sources(text)
