"""What clients may send, and what is answered to anything else."""

from contextlib import suppress
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.requests import (
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
        resume={"A": {"seq": 3, "digest": 4}},
        new=1,
    )
    assert request == Subscribe("x", ["A"], 0, 7, {"A": Resume(3, 4)}, wildcard=False)


def test_the_other_ops() -> None:
    assert ask(op="unsubscribe", symbols=["*"]) == Unsubscribe(None, ["*"], wildcard=True)
    assert ask(op="credit", messages=4) == Credit(4)
    assert ask(op="ping", id=-5) == Ping(-5)
    assert ask(op="subscribe", symbols=["*"]).wildcard


def test_msgpack_carries_the_same_maps() -> None:
    raw = msgpack.packb({"op": "ping", "id": "é"})
    assert parse(raw, Encoding.MSGPACK) == Ping("é")


@pytest.mark.parametrize("depth", [2, -1, 1001, 25.0, "25", True, None, [25], 10**30])
def test_bad_depths(depth: object) -> None:
    error = refused(op="subscribe", id=1, symbols=["A"], depth=depth if depth != 10**30 else 1e30)
    assert (error.code, error.id) == ("bad_depth", 1)
    assert "0, 1, 5, 10" in error.message


@pytest.mark.parametrize("interval_ms", [-1, 1.5, "5", False, None])
def test_bad_intervals(interval_ms: object) -> None:
    assert refused(op="subscribe", symbols=["A"], interval_ms=interval_ms).code == "bad_interval"


@pytest.mark.parametrize("request_id", [True, 1.0, None, "x" * 65, [1], {}])
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


@pytest.mark.parametrize("op", ["auth", "Subscribe", ""])
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
names = st.sampled_from(["op", "id", "symbols", "depth", "interval_ms", "resume", "messages"])
ops = st.sampled_from(["subscribe", "unsubscribe", "credit", "ping", "auth"])
ANSWERS = (None, "bad_request", "unknown_op", "bad_depth", "bad_interval")


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
