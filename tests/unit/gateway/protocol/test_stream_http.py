"""The request for an event stream: what it means, what is refused, and how the answer begins."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.protocol.http_head import Head, HeadError
from depthcast.gateway.protocol.requests import Resume, Subscribe
from depthcast.gateway.protocol.stream_http import parse_stream, refused_stream, stream_head
from tests.event_source import EventSource


def head(query: str, *headers: tuple[str, str]) -> Head:
    return Head("GET", f"/v1/stream?{query}", "HTTP/1.1", (("host", "h"), *headers))


def meant(request: Subscribe) -> tuple[list[str], int, int, bool]:
    return request.symbols, request.depth, request.interval_ms, request.wildcard


def asked(query: str, *ids: str) -> Subscribe:
    return parse_stream(head(query, *[("last-event-id", text) for text in ids]), 100)


def test_without_more_it_is_the_default_subscription() -> None:
    assert meant(asked("symbols=BTC-USD")) == (["BTC-USD"], 25, 0, False)
    assert asked("symbols=BTC-USD").resume == {}


@pytest.mark.parametrize(
    "query",
    [
        "symbols=A,B&depth=10&interval_ms=100",
        "symbols=A&symbols=B&interval_ms=100&depth=10&token=secret",
        "symbols=%41%2CB&depth=%31%30&interval_ms=0100&&",
    ],
)
def test_parameters(query: str) -> None:
    assert meant(asked(query)) == (["A", "B"], 10, 100, False)


def test_levels_in_groups_of_ticks() -> None:
    assert asked("symbols=A").group_ticks == 1
    assert asked("symbols=A&group=50").group_ticks == 50


def test_the_number_of_orders() -> None:
    assert not asked("symbols=A").orders
    assert not asked("symbols=A&orders=false&group=10").orders
    assert asked("symbols=A&orders=true&group=1").orders


def test_all_symbols_at_full_depth() -> None:
    assert meant(asked("symbols=*&depth=0")) == (["*"], 0, 0, True)


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("", "bad_request", "symbols are missing"),
        ("depth=5", "bad_request", "symbols=BTC-USD,ETH-USD"),
        ("symbols", "bad_request", "symbols '' has an empty name"),
        ("symbols=", "bad_request", "empty name"),
        ("symbols=A,,B", "bad_request", "'A,,B' has an empty name"),
        ("symbols=A&symbol=B", "bad_request", "unknown parameter 'symbol'; known are symbols, "),
        ("symbols=A&interval=100", "bad_request", "unknown parameter 'interval'"),
        ("symbols=A&depth=5&depth=10", "bad_request", "depth is given 2 times, as ['5', '10']; give it once"),
        ("symbols=A&depth=7", "bad_depth", "depth 7 is not one of 0, 1, 5, "),
        ("symbols=A&depth=", "bad_depth", "depth '' is not one of"),
        ("symbols=A&group=0", "bad_group", "group 0 must be a whole number of ticks"),
        ("symbols=A&group=x", "bad_group", "group 'x' must be a whole number of ticks"),
        ("symbols=A&orders=1", "bad_request", "orders must be true or false, not '1'"),
        ("symbols=A&orders=", "bad_request", "orders must be true or false, not ''"),
        ("symbols=A&orders=true&orders=true", "bad_request", "orders is given 2 times"),
        ("symbols=A&orders=true&group=5", "bad_request", "leave out one, or group 5"),
        ("symbols=A&depth=-1", "bad_depth", "depth '-1' is not one of"),
        ("symbols=A&depth=5.0", "bad_depth", "'5.0'"),
        ("symbols=A&depth=%D9%A5", "bad_depth", "'٥'"),
        ("symbols=A&depth=" + "9" * 4000, "bad_depth", "'99999"),
        ("symbols=A&interval_ms=-1", "bad_interval", "interval_ms '-1' must be a whole number of ms"),
        ("symbols=A&interval_ms=1s", "bad_interval", "'1s'"),
        ("symbols=A&interval_ms=1e3", "bad_interval", "'1e3'"),
        ("symbols=A&last_event_id=17", "bad_request", "last_event_id '17' must be SYMBOL:SEQ:DIGEST"),
        ("symbols=" + ",".join(f"S{number}" for number in range(201)), "limit", "201 items, more than 200"),
        ("symbols=A&last_event_id=" + ",".join(f"S{n}:1:1" for n in range(101)), "limit", "resume has 101"),
        ("symbols=A&%00=1", "bad_request", "unknown parameter '\\x00'"),
    ],
)
def test_a_bad_value_is_named_with_what_would_be_right(query: str, code: str, said: str) -> None:
    with pytest.raises(HeadError) as raised:
        asked(query)
    assert (raised.value.status, raised.value.code) == (400, code)
    assert said in raised.value.message
    assert len(raised.value.message) < 300


def test_what_a_client_has_is_in_the_header_or_in_the_query() -> None:
    resume = {"A": Resume(7, 8), "B": Resume(9, 1)}
    assert asked("symbols=A,B", "A:7:8,B:9:1").resume == resume
    assert asked("symbols=A,B&last_event_id=A:7:8,B:9:1").resume == resume
    assert asked("symbols=A,B&last_event_id=A:7:8&last_event_id=B:9:1").resume == resume
    assert asked("symbols=A,B&last_event_id=").resume == {}
    assert asked("symbols=A&orders=true", "A:7:8:9").resume == {"A": Resume(7, 8, 9)}


def test_the_header_is_newer_than_the_query_even_if_it_says_nothing() -> None:
    query = "symbols=A,B&last_event_id=A:7:8,B:9:1"
    assert asked(query, "A:10:11").resume == {"A": Resume(10, 11)}
    assert asked(query, "of-another-service").resume == {}
    assert asked(query, "A:10:11", "A:12:13").resume == {}
    assert asked(query, "").resume == {"A": Resume(7, 8), "B": Resume(9, 1)}


texts = st.text(max_size=40) | st.sampled_from(["A", "A,B", "*", "5", "0", "A:1:2", "-1", "1e9", "true"])
names = st.sampled_from(["symbols", "depth", "interval_ms", "group", "orders", "last_event_id", "token", "x"])


@given(st.lists(st.tuples(names, texts), max_size=6), st.text(max_size=20), st.lists(texts, max_size=2))
def test_any_query_is_a_request_or_refused(pairs: list[tuple[str, str]], rest: str, ids: list[str]) -> None:
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in pairs) + quote(rest, safe="%&=;+")
    try:
        request = asked(query, *ids)
    except HeadError as error:
        status = error.status
    else:
        status = 400
        assert request.symbols
        assert request.interval_ms >= 0
    assert status == 400


def test_the_answer_may_not_be_kept_or_collected_on_the_way() -> None:
    lines = stream_head(head("")).decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {"Content-Type: text/event-stream; charset=utf-8", "Cache-Control: no-store, no-transform",
            "X-Accel-Buffering: no", "Connection: close"} <= set(lines)  # fmt: skip
    assert lines[-2:] == ["", ""]
    assert not [line for line in lines if "Allow-Origin" in line or "Length" in line]


def test_the_page_of_an_origin_may_read_it() -> None:
    answer = stream_head(head("", ("origin", "https://example.com")))
    assert b"\r\nAccess-Control-Allow-Origin: https://example.com\r\n" in answer


@pytest.mark.parametrize("status", [429, 503])
def test_a_browser_is_told_in_a_stream_what_passes(status: int) -> None:
    error = HeadError(status, "unavailable", "try again later")
    answer = refused_stream(head("", ("accept", "Text/Event-Stream")), error, b"retry: 7\n\n")
    assert answer is not None
    begin, _, events = answer.partition(b"\r\n\r\n")
    assert begin.startswith(b"HTTP/1.1 200 ")
    source = EventSource()
    [taken] = source.feed(events)
    assert taken.message == {"type": "error", "code": "unavailable", "message": "try again later"}
    assert source.retry_ms == 7


def test_other_errors_have_their_status_and_so_has_everything_for_others() -> None:
    events, anything = ("accept", "text/event-stream"), ("accept", "*/*")
    assert refused_stream(head("", events), HeadError(404, "unknown_symbol", "no"), b"") is None
    assert refused_stream(head("", anything), HeadError(503, "unavailable", "no"), b"") is None
    assert refused_stream(head(""), HeadError(503, "unavailable", "no"), b"") is None
