"""The sending half of a session: bytes, counts, credit, and replies that go out together."""

import orjson

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.sender import Payload, Sender
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.types import MAX_INTEGER
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.model_client import split_frames


def sender(write_bytes_max: int = 10) -> tuple[Sender, FakeWriter, GatewayCounters]:
    writer, counters = FakeWriter(write_bytes_max, reads=True), GatewayCounters()
    return Sender(writer, Encoding.JSON, write_bytes_max, counters), writer, counters


def test_what_is_written_is_counted() -> None:
    made, writer, counters = sender()
    made.write(b"abc", Payload(b"", deltas=1, snapshots=2, conflated={None: 4}))
    made.write(b"de")
    assert writer.taken == b"abcde"
    assert made.bytes_written == counters.bytes_sent == 5
    assert (counters.deltas, counters.snapshots, counters.conflated) == (1, 2, 4)
    assert made.credit is None


def test_market_data_costs_credit_and_nothing_else_does() -> None:
    made, _, _ = sender()
    made.add_credit(3)
    made.add_credit(2)
    made.write(b"a", Payload(b"", deltas=1, snapshots=1, conflated={"buffer": 7}))
    made.write(b"b")
    made.send({"type": "pong"})
    assert made.credit == 3
    made.add_credit(MAX_INTEGER)
    assert made.credit == MAX_INTEGER


def test_control_messages_carry_the_id_of_their_request() -> None:
    made, writer, counters = sender(1000)
    made.send({"type": "pong"}, 7)
    made.send({"type": "heartbeat"})
    made.refuse("limit", "too many", "x", "AAA")
    made.refuse("bad_request", "what?")
    assert [orjson.loads(data) for _, data in split_frames(writer.taken)] == [
        {"type": "pong", "id": 7},
        {"type": "heartbeat"},
        {"type": "error", "code": "limit", "message": "too many", "symbol": "AAA", "id": "x"},
        {"type": "error", "code": "bad_request", "message": "what?"},
    ]
    assert counters.others == 4


def test_held_bytes_go_out_in_one_write() -> None:
    made, writer, _ = sender()
    made.hold()
    made.write(b"abc")
    made.write(b"def")
    assert writer.writes == 0
    assert made.bytes_written == 6
    made.release()
    assert (writer.writes, bytes(writer.taken)) == (1, b"abcdef")
    made.write(b"g")
    assert (writer.writes, bytes(writer.taken)) == (2, b"abcdefg")


def test_no_more_than_the_mark_and_one_message_is_held() -> None:
    made, writer, _ = sender(write_bytes_max=5)
    made.hold()
    made.write(b"12345")
    assert writer.writes == 0
    made.write(b"6")
    assert bytes(writer.taken) == b"123456"
    made.write(b"7")
    assert writer.writes == 1, "it goes on holding"
    made.release()
    assert bytes(writer.taken) == b"1234567"


def test_nothing_held_is_nothing_written() -> None:
    made, writer, _ = sender()
    made.hold()
    made.release()
    made.release()
    assert writer.writes == 0
