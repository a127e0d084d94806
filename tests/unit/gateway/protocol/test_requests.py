"""Valid requests, and the answers to everything else."""

from contextlib import suppress
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.requests import (
    TOKEN_CHARACTERS_MAX,
    Auth,
    Credit,
    Ping,
    Refused,
    Resume,
    Subscribe,
    Unparsable,
    Unsubscribe,
    parse,
    quoted,
)


def ask(**message: Any) -> Any:
    return parse(orjson.dumps(message), Encoding.JSON)


def refused(**message: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(**message)
    return caught.value


def test_defaults_of_subscribe() -> None:
    assert ask(op="subscribe", symbols=["A"]) == Subscribe(None, ["A"], 25, 0, {}, wildcard=False)


def test_every_field_of_subscribe() -> None:
    request = ask(
        op="subscribe",
        id="x",
        symbols=["A"],
        depth=0,
        interval_ms=7,
        parts=True,
        resume={"A": {"seq": 3, "digest": 4}},
        group=50,
        new=1,
    )
    state = Resume(3, 4)
    assert request == Subscribe("x", ["A"], 0, 7, {"A": state}, wildcard=False, parts=True, group_ticks=50)


def test_the_other_ops() -> None:
    assert ask(op="unsubscribe", symbols=["*"]) == Unsubscribe(None, ["*"], wildcard=True)
    assert ask(op="credit", messages=4) == Credit(4)
    assert ask(op="ping", id=-5) == Ping(-5)
    assert ask(op="subscribe", symbols=["*"]).wildcard


def test_integral_floats_are_integers_as_javascript_sends_them() -> None:
    message = {
        "op": "subscribe", "id": 7.0, "symbols": ["A"], "depth": 50.0, "interval_ms": 5.0,
        "group": 9.0, "resume": {"A": {"seq": 5485486080001.0, "digest": 4294967295.0, "orders_digest": 3.0}},
    }  # fmt: skip
    for found in (parse(msgpack.packb(message), Encoding.MSGPACK), ask(**message)):
        resume = {"A": Resume(5485486080001, 4294967295, 3)}
        assert found == Subscribe(7, ["A"], 50, 5, resume, wildcard=False, group_ticks=9)
        numbers = found.id, found.depth, found.interval_ms, found.group_ticks, *found.resume["A"]
        assert [type(number) for number in numbers] == [int] * 7
    assert repr(ask(op="credit", messages=1e3)) == "Credit(messages=1000)"


def test_msgpack_carries_the_same_maps() -> None:
    raw = msgpack.packb({"op": "ping", "id": "é"})
    assert parse(raw, Encoding.MSGPACK) == Ping("é")


@pytest.mark.parametrize("depth", [2, -1, 1001, 25.5, "25", True, None, [25], 10**30])
def test_bad_depths(depth: object) -> None:
    error = refused(op="subscribe", id=1, symbols=["A"], depth=depth if depth != 10**30 else 1e30)
    assert (error.code, error.id) == ("bad_depth", 1)
    assert "0, 1, 5, 10" in error.message


@pytest.mark.parametrize("interval_ms", [-1, 1.5, "5", False, None])
def test_bad_intervals(interval_ms: object) -> None:
    assert refused(op="subscribe", symbols=["A"], interval_ms=interval_ms).code == "bad_interval"


@pytest.mark.parametrize("group", [0, -1, 1.5, "5", True, None, [5], 2**53, 1e300])
def test_bad_groups(group: object) -> None:
    error = refused(op="subscribe", id=1, symbols=["A"], group=group)
    assert (error.code, error.id) == ("bad_group", 1)
    assert error.message.endswith("must be a whole number of ticks, 1 to 9007199254740991")


@pytest.mark.parametrize("request_id", [True, 1.5, 2.0**53, None, "x" * 65, [1], {}])
def test_a_bad_id_is_named_and_not_echoed(request_id: object) -> None:
    error = refused(op="ping", id=request_id)
    assert (error.code, error.id) == ("bad_request", None)
    assert "id must be" in error.message


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "subscribe"},
        {"op": "subscribe", "symbols": []},
        {"op": "subscribe", "symbols": "A"},
        {"op": "unsubscribe", "symbols": {"A": 1}},
        {"op": "subscribe", "symbols": ["A"], "resume": [1]},
        {"op": "subscribe", "symbols": ["A"], "parts": 1},
        {"op": "subscribe", "symbols": ["A"], "parts": None},
        {"op": "subscribe", "symbols": ["A"], "resume": {"A": 5}},
        {"op": "subscribe", "symbols": ["A"], "resume": {"A": {"seq": 1}}},
        {"op": "subscribe", "symbols": ["A"], "resume": {"A": {"seq": True, "digest": 1}}},
        {"op": "credit"},
        {"op": "credit", "messages": 0},
        {"op": "credit", "messages": True},
        {"op": "credit", "messages": 2**53},
        {"op": 5},
        {},
    ],
)
def test_wrong_shapes(fields: dict[str, Any]) -> None:
    error = refused(**fields, id="it")
    assert (error.code, error.id) == ("bad_request", "it")


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        ({"op": "subscribe"}, "bad_request", "symbols must be a list of at least one symbol, not None"),
        (
            {"op": "subscribe", "symbols": "A"},
            "bad_request",
            "symbols must be a list of at least one symbol, not 'A'",
        ),
        (
            {"op": "unsubscribe", "symbols": []},
            "bad_request",
            "symbols must be a list of at least one symbol, not []",
        ),
        (
            {"op": "subscribe", "symbols": ["A"], "depth": 2},
            "bad_depth",
            "depth 2 is not one of 0, 1, 5, 10, 25, 50, 100, 500, 1000 (0 is the full book)",
        ),
        (
            {"op": "subscribe", "symbols": ["A"], "interval_ms": -1},
            "bad_interval",
            "interval_ms -1 must be a whole number of ms, 0 or more",
        ),
        (
            {"op": "subscribe", "symbols": ["A"], "resume": [1]},
            "bad_request",
            "resume must be a map of symbols, not a value of type list",
        ),
        (
            {"op": "subscribe", "symbols": ["A"], "parts": "yes"},
            "bad_request",
            "parts must be true or false, not 'yes'",
        ),
        *(
            (
                {"op": "subscribe", "symbols": ["A"], "resume": {"B": wrong}},
                "bad_request",
                "resume of 'B' must be a map of the integers seq and digest",
            )
            for wrong in (5, {"seq": 1}, {"digest": 1}, {"seq": 1.5, "digest": 1}, {"seq": 1, "digest": "1"})
        ),
        ({"op": "credit", "messages": 0}, "bad_request", "messages must be a whole number, 1 or more, not 0"),
        ({"op": 5}, "bad_request", 'op must be text such as "subscribe", not a value of type int'),
        ({}, "bad_request", 'op must be text such as "subscribe", not nothing'),
        (
            {"op": "history"},
            "unknown_op",
            "unknown op 'history'; known are subscribe, unsubscribe, credit, ping and auth",
        ),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], code: str, says: str) -> None:
    error = refused(**fields, id=7)
    assert (error.code, error.message, error.id) == (code, says, 7)
    assert str(error) == f"{code}: {says}"


def test_limits_are_within() -> None:
    assert ask(op="credit", messages=1) == Credit(1)
    assert ask(op="credit", messages=2**53 - 1) == Credit(2**53 - 1)
    assert ask(op="ping", id="x" * 64) == Ping("x" * 64)
    assert refused(op="ping", id="x" * 65).message.startswith(
        "id must be an integer or text of up to 64 characters"
    )
    assert quoted("x" * 62) == repr("x" * 62)
    assert quoted("x" * 63) == repr("x" * 63)[:63] + "…"


def test_a_token_is_in_no_text() -> None:
    request = ask(op="auth", token="S3cr3t", id=1)
    assert request == Auth(1, "S3cr3t")
    assert "S3cr3t" not in repr(request)
    assert "S3cr3t" not in refused(op="auth", token=["S3cr3t"]).message
    assert ask(op="auth", token="x" * TOKEN_CHARACTERS_MAX)
    assert refused(op="auth", token="x" * (TOKEN_CHARACTERS_MAX + 1)).code == "bad_request"


@pytest.mark.parametrize(("value", "kind"), [(None, "nothing"), ([], "a value of type list")])
def test_what_is_no_map_is_said(value: object, kind: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(orjson.dumps(value), Encoding.JSON)
    assert caught.value.message == f"a message is a map with an op, not {kind}"
    assert caught.value.id is None


@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.MSGPACK])
def test_bytes_that_are_no_message_say_why(encoding: Encoding) -> None:
    with pytest.raises(Unparsable, match=r"\w+ \w+"):
        parse(b"\xc1", encoding)


@pytest.mark.parametrize("op", ["history", "Subscribe", ""])
def test_unknown_ops(op: str) -> None:
    error = refused(op=op)
    assert error.code == "unknown_op"
    assert repr(op) in error.message


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"nul", b'{"op":NaN}', b"[" * 5000])
def test_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(Unparsable):
        parse(raw, Encoding.JSON)


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x92\x01", b"\x01\x02", b"\x91" * 5000, b"\xa1\xff", b"\x81\x80\x01"]
)
def test_what_is_not_msgpack(raw: bytes) -> None:
    with pytest.raises(Unparsable):
        parse(raw, Encoding.MSGPACK)


@pytest.mark.parametrize("value", [[], "text", 5, None, True])
def test_a_message_that_is_no_map(value: object) -> None:
    with pytest.raises(Refused, match="bad_request"):
        parse(orjson.dumps(value), Encoding.JSON)


values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["op", "id", "symbols", "depth", "interval_ms", "group", "resume", "messages"])
ops = st.sampled_from(["subscribe", "unsubscribe", "credit", "ping", "auth"])
ANSWERS = (None, "bad_request", "unknown_op", "bad_depth", "bad_interval", "bad_group")


def code_of(raw: bytes, encoding: Encoding) -> str | None:
    try:
        parse(raw, encoding)
    except Refused as error:
        return error.code if len(error.message) < 300 else "too long"
    return None


@given(st.dictionaries(names, values | ops), st.sampled_from([Encoding.JSON, Encoding.MSGPACK]))
def test_any_map_is_a_request_or_refused(message: dict[str, Any], encoding: Encoding) -> None:
    raw = orjson.dumps(message) if encoding is Encoding.JSON else msgpack.packb(message)
    assert code_of(raw, encoding) in ANSWERS


@given(st.binary(max_size=60), st.sampled_from([Encoding.JSON, Encoding.MSGPACK]))
def test_any_bytes_are_a_request_or_refused(raw: bytes, encoding: Encoding) -> None:
    with suppress(Unparsable):
        assert code_of(raw, encoding) in ANSWERS


def test_quotes_are_cut() -> None:
    assert quoted("ab") == "'ab'"
    assert len(quoted("x" * 1000)) == 64
