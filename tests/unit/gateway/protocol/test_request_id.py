"""Which name of a request is taken over from the proxy that gives it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.protocol.http_head import HeadError, HeadLimits, parse_head
from depthcast.gateway.protocol.request_id import CHARACTERS_MAX, HEADER, header_line, taken_over

ALPHABET = frozenset("-._:+/=@0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
CHARACTERS = st.one_of(st.sampled_from(sorted(ALPHABET)), st.characters())
LIMITS = HeadLimits(4096, 16_384, 64)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "7F000001:C350_7F000001:1F90_66A0C0DE_0001:0A2B",
        "Root=1-67891233-abcdef012345678912345678",
        "YWJj/+==",
        "f.1@edge-3",
        "x" * CHARACTERS_MAX,
    ],
)
def test_a_good_name_is_taken_over_as_it_is(name: str) -> None:
    assert taken_over([name]) == name
    assert header_line(name) == f"X-Request-ID: {name}"


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["x" * (CHARACTERS_MAX + 1)],
        ["a", "a"],
        ["a", ""],
        ["a b"],
        ["a,b"],
        ["a\n"],
        ["a\r\nX-Other: b"],
        ['a"'],
        ["a\\"],
        ["<a>"],
        ["a;b"],
        ["a%0d%0a"],
        ["a\x00"],
        ["\x7f"],
        ["é"],
        ["\u0661"],
        ["\uff21"],
    ],
)
def test_no_other_is(values: list[str]) -> None:
    assert taken_over(values) is None


@given(st.lists(st.text(CHARACTERS, max_size=140), max_size=3))
def test_whatever_is_taken_over_is_one_short_word(values: list[str]) -> None:
    name = taken_over(values)
    good = len(values) == 1 and 0 < len(values[0]) <= CHARACTERS_MAX and ALPHABET.issuperset(values[0])
    assert name == (values[0] if good else None)


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_a_head_gives_a_name_that_makes_one_line_of_an_answer(values: list[bytes]) -> None:
    raw = b"".join(b"X-Request-Id: " + value.replace(b"\r\n", b"") + b"\r\n" for value in values)
    try:
        head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + raw + b"\r\n", LIMITS)
    except HeadError:
        return
    name = taken_over(head.values(HEADER.lower()))
    assert name is None or header_line(name).splitlines() == [header_line(name)]
