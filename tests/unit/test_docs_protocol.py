"""The examples of the contract are correct: each is parsed from the markdown and computed again.

`docs/protocol.md` labels its blocks, such as ```hex delta-1 and ```json delta-1 for one value in both forms.
Here its story is played through the engine, the codec, the stream reader, a gateway's channel and the client,
and compared with the text.
"""

import inspect
import json
import re
import shlex
from dataclasses import fields as fields_of
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgpack
import pytest

from depthcast.broadcaster.merger import Merger
from depthcast.broadcaster.numbering import first_seq
from depthcast.broadcaster.publication import Broadcast, place
from depthcast.client import Client
from depthcast.client.book import ClientBook, SubscriptionOptions
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.delivery.core import CLIENT_LIMITS
from depthcast.gateway.market.channel import Channel
from depthcast.gateway.market.grouped_replica import GroupedReplica
from depthcast.gateway.market.held_back import HeldBack
from depthcast.gateway.market.history import HistoryBound
from depthcast.gateway.market.orders_channel import OrdersChannel
from depthcast.gateway.protocol.events import event, event_id
from depthcast.gateway.protocol.grant import KEYS, grant_of
from depthcast.gateway.protocol.http_head import Head
from depthcast.gateway.protocol.messages import (
    DEPTHS,
    Encoding,
    delta_message,
    encode,
    snapshot_in_parts,
    status_message,
    subscribed_message,
)
from depthcast.gateway.protocol.requests import Auth, Refused, Subscribe, parse
from depthcast.gateway.protocol.stream_http import PARAMETERS, parse_stream
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.output import broadcast_of, reject_fields
from depthcast.ingestor.rejects import Reason
from depthcast.shared import codec, consumer_entry, gateway_entry, relay_entry
from depthcast.shared.book import Book
from depthcast.shared.digest import MASK, digest_of, moved
from depthcast.shared.instruments import Feed, Instrument, from_json, parse_toml
from depthcast.shared.order_counts import counts_in, counts_of
from depthcast.shared.partition import partition_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.settings import (
    GatewaySettings,
    IngestorSettings,
    RelaySettings,
    Settings,
    VenueFeedSettings,
    variable,
)
from depthcast.shared.slots import slot_of, spread_tags
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")

BTC = Symbol("BTC-USD")
EPOCHS = (1769904000000, 1769904060000)
INPUT = ("1769904000100-0", "1769904000200-0", "1769904000300-0", "1769904060100-0")

RawEntry = tuple[Position, list[tuple[bytes, bytes]]]


class Block(NamedTuple):
    language: str
    name: str
    text: str


@cache
def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+) ([\w-]+)\n(.*?)^```$", PROTOCOL, re.MULTILINE | re.DOTALL)
    return [Block(*groups) for groups in found]


def block(language: str, name: str) -> str:
    (text,) = (item.text for item in blocks() if (item.language, item.name) == (language, name))
    return text


def raw(name: str) -> bytes:
    """The bytes of a `hex` block."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in block("hex", name).splitlines()))


def value(name: str) -> Any:
    """The value of a `json` block."""
    return json.loads(block("json", name))


def names(language: str) -> set[str]:
    return {item.name for item in blocks() if item.language == language}


def command_fields(name: str) -> list[tuple[bytes, bytes]]:
    """Key and fields that the `redis-cli XADD` of a `console` block sends."""
    program, command, key, entry_id, *words = shlex.split(block("console", name))
    assert (program, command, key, entry_id) == ("redis-cli", "XADD", "{depthcast:0}:events", "*")
    return [(a.encode(), b.encode()) for a, b in zip(words[::2], words[1::2], strict=True)]


# --- the story, played ------------------------------------------------------------------------------------


class Story(NamedTuple):
    """Everything written to `deltas` and `rejects`, and the snapshot before the change of leader."""

    entries: dict[str, list[tuple[bytes, bytes]]]
    rejects: list[dict[str, str]]
    snapshot: Snapshot


class Teller:
    """Plays the story as the ingestor would, with the times of the text."""

    def __init__(self) -> None:
        self.engine = Engine(0, 1)
        self.engine.register(Instrument(BTC, "0.01", "0.001"))
        self.position = ZERO
        self.entries: dict[str, list[tuple[bytes, bytes]]] = {}
        self.rejects: list[dict[str, str]] = []

    def append(self, first: Position, broadcast: Broadcast) -> None:
        for position, fields in place(self.position, first, [broadcast]):
            self.entries[str(position)] = fields
            self.position = position

    def lead(self, epoch: int, last: EntryInfo) -> None:
        seal_ts, moves_ts = epoch * 1000 + 1000, epoch * 1000 + 2000
        self.append(Position(epoch, 0), Broadcast(EntryInfo(seal_ts, *last[1:5]), ()))
        moves = self.engine.begin_epoch(epoch)
        broadcast = broadcast_of(self.engine.drain(), moves_ts)
        self.append(self.position.next(), broadcast._replace(deltas=moves))

    def consume(self, source: str, fields: list[tuple[bytes, bytes]], ts: int) -> Interval:
        self.engine.apply(source, fields)
        interval = self.engine.drain()
        self.append(self.position.next(), broadcast_of(interval, ts))
        for reject in interval.rejects:
            self.rejects.append({name.decode(): text.decode() for name, text in reject_fields(reject)})
        return interval


@cache
def story() -> Story:
    teller = Teller()
    teller.lead(EPOCHS[0], EntryInfo(0, "0-0", 0, 0, 0))
    teller.consume(INPUT[0], command_fields("event-json"), value("delta-1-info")["ts"])
    second = [(b"_", raw("event-options")), (BTC.encode(), raw("event-msgpack"))]
    teller.consume(INPUT[1], second, value("delta-2-info")["ts"])
    teller.consume(INPUT[2], command_fields("event-rejected"), value("delta-3-info")["ts"])
    snapshot = teller.engine.snapshot(BTC)._replace(ts=value("snapshot")[4])
    teller.lead(EPOCHS[1], codec.decode_info(teller.entries[str(teller.position)][0][1]))
    teller.consume(INPUT[3], [(BTC.encode(), b'[["add", "bid", 6500007, 4]]')], 1769904060100200)
    return Story(teller.entries, teller.rejects, snapshot)


def entry(position: str) -> RawEntry:
    return Position.parse(position), story().entries[position]


# --- both forms of every example --------------------------------------------------------------------------


def test_block_labels_are_unique_and_known() -> None:
    labels = [item[:2] for item in blocks()]
    assert len(labels) == len(set(labels))
    assert {item.language for item in blocks()} == {
        "console", "digest", "events", "hex", "json", "partition", "seq", "toml",
    }  # fmt: skip
    assert len(blocks()) == len(re.findall(r"^```\w", PROTOCOL, re.MULTILINE)), "a block without a label"


@pytest.mark.parametrize("name", sorted(names("hex")))
def test_hex_and_json_are_the_same_value(name: str) -> None:
    assert msgpack.unpackb(raw(name)) == value(name)
    assert codec.pack(value(name)) == raw(name)


def test_comments_of_hex_blocks_are_their_values() -> None:
    for item in blocks():
        if item.language != "hex":
            continue
        for line in item.text.splitlines():
            digits, _, comment = line.partition("#")
            counted = re.fullmatch(r" (map|array) of (\d+)", comment)
            if counted:
                marks = {"map": 0x80, "array": 0x90}
                assert bytes.fromhex(digits) == bytes([marks[counted[1]] + int(counted[2])]), line
                continue
            unpacker = msgpack.Unpacker()
            unpacker.feed(bytes.fromhex(digits))
            *key, last = list(unpacker)
            said = comment.strip() if not key else comment.strip().removeprefix(f"{key[0]}: ")
            assert json.loads(said) == last, line


# --- section 1 --------------------------------------------------------------------------------------------

DIGEST_LINE = re.compile(
    r"([ab])(-?\d+) +crc32 (0x[0-9a-f]{8}) +weight (\d+) +× (-?\d+) += +(-?\d+)",
)


@pytest.mark.parametrize("name", sorted(names("digest")))
def test_digest_steps(name: str) -> None:
    text = block("digest", name)
    begun = re.search(r"^from (\d+)$", text, re.MULTILINE)
    digest = start = int(begun[1]) if begun else 0
    total = start
    lines = DIGEST_LINE.findall(text)
    assert len(lines) == 3
    for side, price, crc, weight, quantity, product in lines:
        assert crc32(f"{side}{price}".encode()) == int(crc, 16)
        assert int(crc, 16) | 1 == int(weight)
        assert int(weight) * int(quantity) == int(product)
        digest = moved(digest, "ba".index(side), int(price), int(quantity), 0)
        total += int(product)
    said = re.search(r"^sum (-?\d+)  mod 2\^32 = (\d+)$", text, re.MULTILINE)
    assert said is not None
    assert (total, total & MASK, digest) == (int(said[1]), int(said[2]), int(said[2]))


def test_the_digest_change_starts_where_the_whole_ended() -> None:
    whole, change = block("digest", "whole"), block("digest", "change")
    assert change.startswith("from " + whole.split()[-1] + "\n")
    assert [int(text.split()[-1]) for text in (whole, change)] == [value("delta-1")[4], value("delta-2")[4]]


def test_digest_table() -> None:
    rows = re.findall(r"^\| (–|\{.*\}) \| (–|\{.*\}) \| (\d+) \|$", PROTOCOL, re.MULTILINE)
    assert len(rows) == 4
    for bids, asks, digest in rows:
        assert digest_of(pairs(bids), pairs(asks)) == int(digest)


def pairs(text: str) -> list[tuple[int, int]]:
    """`{6500010: 5, 6500000: 12}` as pairs."""
    return [(int(a), int(b)) for a, b in re.findall(r"(-?\d+): (\d+)", text)]


def test_partition_examples() -> None:
    lines = re.findall(
        r"^(\S+) +crc32 (\d+) +mod 4 = (\d+) +mod 16 = (\d+)$", block("partition", "examples"), re.MULTILINE
    )
    assert len(lines) == 2
    for symbol, crc, of_4, of_16 in lines:
        assert crc32(symbol.encode()) == int(crc)
        assert (partition_of(symbol, 4), partition_of(symbol, 16)) == (int(of_4), int(of_16))


def test_partition_of_a_cluster() -> None:
    text = block("partition", "cluster")
    tags = re.findall(r'"([^"]+:\d+:\d+)"', text)
    assert [f"{{{tag}}}" for tag in tags] == list(spread_tags("depthcast", 6))
    crc, number, tag, slot = re.findall(
        r"crc32 (\d+) mod 6 = (\d) +tag (\S+) +CRC16 mod 16384 = (\d+)", text
    )[0]
    assert (crc32(b"BTC-USD"), partition_of("BTC-USD", 6), tags[2]) == (int(crc), int(number), tag)
    assert slot_of(f"{{{tag}}}:events") == int(slot)
    assert f"XADD {{{tag}}}:events" in text
    slots = ", ".join(str(slot_of(f"{{{tag}}}")) for tag in tags[:-1])
    assert f"{slots} and {slot_of(f'{{{tags[-1]}}}')}" in PROTOCOL


# --- section 2: the input ---------------------------------------------------------------------------------


def test_reasons_stand_in_their_order() -> None:
    table = PROTOCOL.split("| reason | when |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [reason.value for reason in Reason]


def test_rejects_are_as_listed() -> None:
    assert story().rejects == value("rejects")


def test_orders_example_rejects_the_last_event_only() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(Symbol("ORD"), feed=Feed.ORDERS))
    engine.begin_epoch(EPOCHS[0])
    engine.drain()
    engine.apply("1-0", command_fields("event-orders"))
    interval = engine.drain()
    assert [(reject.reason, reject.index) for reject in interval.rejects] == [(Reason.UNKNOWN_ORDER, 5)]
    assert [tuple(delta[2:4]) for _, delta in interval.deltas] == [([101, 3], [])]


def test_doubt_example_ends_with_the_new_book() -> None:
    engine = Engine(0, 1)
    engine.register(Instrument(Symbol("BTC-USD")))
    engine.drain()
    engine.apply("1-0", [(b"BTC-USD", b'[["add", "bid", 6500010, 5]]')])
    engine.drain()
    engine.apply("2-0", command_fields("event-stale"))
    doubted = engine.drain()
    assert doubted.doubts == {"BTC-USD": "gap"}
    assert [delta[2:4] for _, delta in doubted.deltas] == [([], [])]
    engine.apply("3-0", command_fields("event-live"))
    assert engine.drain().doubts == {"BTC-USD": None}
    snapshot = engine.snapshot("BTC-USD")
    assert (snapshot.bids, snapshot.asks) == ([6500000, 9], [6500020, 7])


def test_instrument_examples() -> None:
    hashed = from_json("BTC-USD", block("json", "instrument"))
    assert parse_toml(block("toml", "instruments")) == {BTC: hashed}


def test_gateway_example() -> None:
    entry = gateway_entry.decode_entry(block("json", "gateway"))
    assert entry is not None
    assert value("gateway") == {**entry._asdict(), "failing": []}


def test_relay_example() -> None:
    entry = relay_entry.decode_entry(block("json", "relay"))
    assert entry is not None
    assert json.loads(relay_entry.encode_entry(entry)) == value("relay")


def test_consumer_example() -> None:
    entry = consumer_entry.decode_entry(block("json", "consumer"))
    assert entry is not None
    assert json.loads(consumer_entry.encode_entry(entry)) == value("consumer")
    assert entry == (1769904000300000, "0.1.0", {0: 12, 1: None}, {1: 30})


# --- section 2: the output --------------------------------------------------------------------------------

STORY = {
    "1769904000000-0": ("seal-first", None),
    "1769904000000-1": (None, "birth"),
    "1769904000000-2": ("delta-1-info", "delta-1"),
    "1769904000000-3": ("delta-2-info", "delta-2"),
    "1769904000000-4": ("delta-3-info", None),
    "1769904060000-0": ("seal-second", None),
    "1769904060000-1": (None, "move"),
    "1769904060000-2": (None, "delta-4"),
}
"""Position → labels of the field `_` and of the field `BTC-USD`, None where the text does not show one."""


def test_the_story_has_these_entries_and_no_others() -> None:
    assert list(story().entries) == list(STORY)
    assert [name for name in STORY if f"`{name}`" not in PROTOCOL] == []


@pytest.mark.parametrize("position", STORY)
def test_entry_is_what_the_program_writes(position: str) -> None:
    info, delta = STORY[position]
    written = dict(story().entries[position])
    if info is not None:
        assert written[b"_"] == raw(info)
        assert codec.encode_info(codec.decode_info(raw(info))) == raw(info)
    assert (BTC.encode() in written) == (delta is not None)
    if delta is not None:
        assert written[BTC.encode()] == raw(delta)
        assert codec.encode_delta(*codec.decode_marked_delta(raw(delta))) == raw(delta)


def test_snapshot_is_what_the_program_writes() -> None:
    assert codec.encode_snapshot(story().snapshot) == raw("snapshot")


def test_arithmetic_of_seq() -> None:
    numbers = [int(number) for number in re.findall(r"\d+", block("seq", "move"))]
    epoch, recovered, *rest = numbers
    again, origin, factor, first = rest[:4]
    assert again == epoch
    assert (epoch - origin) * factor == first
    assert rest[4:] == [recovered, 1, first, first]
    assert first_seq(epoch, recovered) == first
    assert first_seq(EPOCHS[0], 0) == value("birth")[1]
    assert first_seq(EPOCHS[0], 2**52) == 2**52 + 1


def test_two_in_one_drain_share_a_step() -> None:
    """A newborn that changed at once: birth and change are two entries with the same src."""
    engine = Engine(0, 1)
    engine.begin_epoch(EPOCHS[0])
    engine.register(Instrument(BTC))
    engine.apply("5-0", command_fields("event-json"))
    born, changed = engine.drain(), engine.drain()
    assert (born.src, changed.src) == ("5-0", "5-0")
    assert born.deltas == [(BTC, Delta(0, value("birth")[1], [], [], 0, 0))]
    assert codec.encode_delta(changed.deltas[0][1]) == raw("delta-1")


# --- section 2.4: readers ---------------------------------------------------------------------------------


def reader_at(position: str, seq_of: str) -> PartitionReader:
    """A reader that was shown the state after the delta `seq_of`, at `position`."""
    reader = PartitionReader(lambda symbol: True)
    reader.load(ZERO, {})
    for at in STORY:
        if Position.parse(at) > Position.parse(position):
            break
        assert reader.read(*entry(at)) is not None
    assert reader.shown[BTC].seq == value(seq_of)[1]
    return reader


def test_a_reader_follows_the_story() -> None:
    reader = reader_at("1769904000000-2", "delta-1")
    for position in list(STORY)[3:]:
        read = reader.read(*entry(position))
        assert read is not None
        assert len(read.updates) == (STORY[position][1] is not None)
    assert reader.shown[BTC].seq == value("delta-4")[1]
    assert reader.shown[BTC].digest == value("delta-4")[4]


def test_an_entry_that_comes_again_is_a_hole() -> None:
    reader = reader_at("1769904000000-2", "delta-1")
    assert reader.read(*entry("1769904000000-2")) is None
    assert reader.lost_reason is not None


def test_a_reader_of_a_lost_tail_never_goes_back() -> None:
    reader = reader_at("1769904000000-4", "delta-2")
    held = codec.decode_delta(raw("delta-2"))
    lost_delta = Merger(Book(), held.seq, held.digest).advance(held.seq + 1)
    assert lost_delta.seq == 5485363200003
    fields = [(b"_", raw("delta-3-info")), (BTC.encode(), codec.encode_delta(lost_delta))]
    assert reader.read(Position.parse("1769904000000-5"), fields) is not None
    assert reader.read(*entry("1769904060000-0")) is None
    assert reader.lost_reason is not None
    found = Position.parse("1769904000000-4"), codec.decode_snapshot(raw("snapshot"))
    assert reader.load(Position.parse("1769904060000-1"), {BTC: found}) == []
    assert (reader.shown[BTC].seq, reader.is_current(BTC)) == (lost_delta.seq, False)
    seqs = [lost_delta.seq]
    for position in ("1769904060000-0", "1769904060000-1"):
        assert reader.read(*entry(position)) is not None
        seqs.append(reader.shown[BTC].seq)
    assert seqs == [lost_delta.seq, lost_delta.seq, value("move")[1]]
    assert reader.is_current(BTC)


def test_a_lost_message_is_a_gap_of_one_symbol() -> None:
    reader = reader_at("1769904000000-2", "delta-1")
    reader.position = Position.parse("1769904060000-0")
    assert reader.read(*entry("1769904060000-1")) is not None
    assert reader.lost_reason is None
    assert BTC in reader.missing


# --- section 3 --------------------------------------------------------------------------------------------


def payload(frame: bytes) -> bytes:
    """Of a frame shorter than 64 KiB."""
    return frame[4:] if frame[1] == 126 else frame[2:]


def same_message(ours: Any, text: Any) -> bool:
    """Equal but for the order of levels, which deltas leave open."""
    sides = ("bids", "asks")
    ordered = [{**message, **{side: sorted(message[side]) for side in sides}} for message in (ours, text)]
    return bool(ordered[0] == ordered[1])


class Follower:
    """A gateway's channel of BTC-USD at one depth from the first state on, and each broadcast's message.

    `group`: ticks by which the book is grouped, 1 for the book as it is.
    """

    def __init__(self, depth: int, group: int = 1) -> None:
        self.reader = reader_at("1769904000000-2", "delta-1")
        bound, counters = HistoryBound(10), GatewayCounters()
        self.channel = Channel(BTC, depth, group_ticks=group, history_bound=bound, counters=counters)
        replica = self.reader.shown[BTC]
        grouped = GroupedReplica(replica, group)
        self.channel.load(replica if group == 1 else grouped, value("delta-1-info")["ts"], 1)
        assert self.channel.view is not None
        self.snapshot = json.loads(json.dumps(self.channel.view.snapshot_message(BTC)))
        self.deltas: list[Any] = []
        for number, position in enumerate(list(STORY)[3:], 2):
            read = self.reader.read(*entry(position))
            assert read is not None
            assert read.info is not None
            for update in read.updates:
                assert update.delta is not None
                changes = update.changes if group == 1 else grouped.advance(update.changes)
                seq, ts, event_ts = update.delta.seq, read.info.ts, update.event_ts
                if self.channel.advance(changes, seq, ts, number, event_ts):
                    message = delta_message(BTC, depth, self.channel.fresh[-1].delta, 1, group_ticks=group)
                    self.deltas.append(json.loads(json.dumps(message)))


def test_messages_at_depth_5() -> None:
    follower = Follower(5)
    assert follower.snapshot == value("ws-snapshot")
    assert len(follower.deltas) == 2
    assert same_message(follower.deltas[0], value("ws-delta"))
    assert same_message(follower.deltas[1], value("ws-delta-after"))


def test_a_level_that_falls_out_at_depth_1() -> None:
    assert same_message(Follower(1).deltas[-1], value("ws-delta-top"))


def test_groups() -> None:
    request = parse(block("json", "ws-subscribe-grouped"), Encoding.JSON)
    assert isinstance(request, Subscribe)
    group = request.group_ticks
    answer = subscribed_message(
        Instrument(BTC, "0.01", "0.001"), request.depth, request.interval_ms, None, group_ticks=group
    )
    assert {**answer, "id": request.id} == value("ws-subscribed-grouped")
    follower = Follower(request.depth, group)
    assert follower.snapshot == value("ws-snapshot-grouped")
    assert same_message(follower.deltas[0], value("ws-delta-grouped"))
    book = ClientBook(SubscriptionOptions(request.depth, request.interval_ms, group))
    book.subscribed(value("ws-subscribed-grouped"))
    for read, name in ((book.snapshot, "ws-snapshot-grouped"), (book.delta, "ws-delta-grouped")):
        assert read(value(name)) is ApplyResult.APPLIED


def test_resume() -> None:
    request = parse(block("json", "ws-resume"), Encoding.JSON)
    assert isinstance(request, Subscribe)
    channel, offer = Follower(5).channel, request.resume["BTC-USD"]
    state = channel.history.state_at(offer.seq)
    assert state.digest == offer.digest
    answer = subscribed_message(
        Instrument(BTC, "0.01", "0.001"), request.depth, request.interval_ms, state.seq
    )
    assert {**answer, "id": request.id} == value("ws-resumed")
    found = channel.catch_up(state.broadcast, Encoding.JSON)
    assert (found.merged, found.is_snapshot) == (2, False)
    assert same_message(json.loads(payload(found.data)), value("ws-delta-merged"))
    slow = channel.catch_up(state.broadcast, Encoding.JSON, HeldBack(full_at=state.broadcast + 1))
    assert '`"because": "buffer"`' in PROTOCOL
    assert same_message(json.loads(payload(slow.data)), value("ws-delta-merged") | {"because": "buffer"})


def test_subscribe_and_its_answer() -> None:
    request = parse(block("json", "ws-subscribe"), Encoding.JSON)
    assert isinstance(request, Subscribe)
    answer = subscribed_message(Instrument(BTC, "0.01", "0.001"), request.depth, request.interval_ms, None)
    assert {**answer, "id": request.id} == value("ws-subscribed")


def test_the_client_takes_the_messages() -> None:
    book = ClientBook(SubscriptionOptions(5))
    book.subscribed(value("ws-subscribed"))
    assert book.snapshot(value("ws-snapshot")) is ApplyResult.APPLIED
    assert book.delta(value("ws-delta-after")) is ApplyResult.GAP
    assert book.delta(value("ws-delta")) is ApplyResult.APPLIED
    assert book.delta(value("ws-delta-after")) is ApplyResult.APPLIED
    late = ClientBook(SubscriptionOptions(5))
    late.subscribed(value("ws-subscribed"))
    assert late.snapshot(value("ws-snapshot")) is ApplyResult.APPLIED
    assert late.resume == value("ws-resume")["resume"]["BTC-USD"]
    late.restart()
    late.subscribed(value("ws-resumed"))
    assert late.delta(value("ws-delta-merged")) is ApplyResult.APPLIED
    assert late.replica.seq == book.replica.seq
    assert late.replica.book.bids.levels == book.replica.book.bids.levels


def test_a_snapshot_in_parts() -> None:
    parts = [value("ws-snapshot-part-1"), value("ws-snapshot-part-2")]
    assert snapshot_in_parts(value("ws-snapshot"), 2) == parts
    book = ClientBook(SubscriptionOptions(5))
    book.subscribed(value("ws-subscribed"))
    assert [book.snapshot(part) for part in parts] == [None, ApplyResult.APPLIED]
    assert book.delta(value("ws-delta")) is ApplyResult.APPLIED


def test_events_of_a_stream() -> None:
    states = (value("ws-snapshot"), value("ws-delta"))
    assert block("events", "stream-states").encode() == b"".join(map(event, states))
    assert f"`{event_id(value('ws-delta-orders'))}`" in PROTOCOL


def test_the_request_for_a_stream() -> None:
    program, _, url = shlex.split(block("console", "stream-request"))
    _, _, target = url.partition("http://127.0.0.1:8080")
    request = parse_stream(Head("GET", target, "HTTP/1.1", ()), 100)
    assert (program, request.symbols, request.depth) == ("curl", [BTC], 5)
    table = PROTOCOL.split("### 3.6")[1].split("| parameter | meaning |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(PARAMETERS)


def test_number_of_orders_from_the_engine_to_the_client() -> None:
    """The separate example of 2.2.5 and 3.5."""
    ord_, ts = Symbol("ORD"), value("ws-snapshot-orders")["ts"]
    instrument = Instrument(ord_, "0.01", "0.001", Feed.ORDERS)
    engine = Engine(0, 1)
    engine.register(instrument)
    engine.begin_epoch(EPOCHS[0])
    engine.drain()
    first_two = json.loads(command_fields("event-orders")[0][1])[:2]
    engine.apply("1-0", [(b"ORD", codec.pack(first_two))])
    engine.drain()
    snapshot = engine.snapshot("ORD")
    replica = Replica(snapshot, counts_in(snapshot))
    channel = OrdersChannel(ord_, 5, history_bound=HistoryBound(10), counters=GatewayCounters())
    channel.load(replica, ts, 1)
    shown = json.loads(payload(channel.snapshot(Encoding.JSON).data))
    assert shown == value("ws-snapshot-orders")

    replacement = [["delete", None, None, None, 7], ["add", "bid", 100, 3, "b"], ["add", "bid", 100, 2, "c"]]
    engine.apply("2-0", [(b"ORD", codec.pack(replacement))])
    broadcast = broadcast_of(engine.drain(), value("ws-delta-orders")["ts"])
    ((_, delta),) = broadcast.deltas
    written = codec.encode_delta(delta, broadcast.marks["ORD"])
    assert codec.unpack(written, "delta") == value("delta-orders")
    delta, marks = codec.decode_marked_delta(written)
    _, changes = replica.apply_counted(delta, counts_of(marks, delta.bids, delta.asks))
    assert channel.advance(changes, delta.seq, broadcast.info.ts, 2)
    assert json.loads(payload(channel.fresh_deltas(Encoding.JSON).data)) == value("ws-delta-orders")

    request = parse(block("json", "ws-subscribe-orders"), Encoding.JSON)
    assert isinstance(request, Subscribe)
    answer = subscribed_message(instrument, request.depth, request.interval_ms, None, orders=request.orders)
    assert {**answer, "id": request.id} == value("ws-subscribed-orders")
    book = ClientBook(SubscriptionOptions(5, orders=True))
    book.subscribed(value("ws-subscribed-orders"))
    assert book.snapshot(value("ws-snapshot-orders")) is ApplyResult.APPLIED
    assert book.delta(value("ws-delta-orders")) is ApplyResult.APPLIED
    assert book.replica.book.bids.top_orders() == [(100, 8, 3)]


def test_small_messages() -> None:
    assert parse(raw("ws-credit"), Encoding.MSGPACK) == parse(block("json", "ws-credit"), Encoding.JSON)
    assert payload(encode(status_message(BTC, stale=True), Encoding.MSGPACK)) == raw("ws-status")
    error = value("ws-error")
    with pytest.raises(Refused) as refused:
        parse(json.dumps({"op": "history", "id": error["id"]}), Encoding.JSON)
    assert refused.value.code == error["code"]
    assert refused.value.message == error["message"]
    assert refused.value.id == error["id"]


def test_tokens() -> None:
    claims = value("token-claims")
    grant = grant_of(claims)
    assert (grant.subject, grant.token_id, grant.connections_max) == ("alice", "5f0c1d2e", 2)
    assert (grant.rights.depth_max, grant.rights.interval_min_ms) == (25, 100)
    assert [grant.rights.may_read(symbol) for symbol in ("BTC-USD", "ETH-USD", "ETH-EUR")] == [
        True,
        True,
        False,
    ]
    assert grant.expires_us == value("ws-authenticated")["expires"] == value("ws-expiring")["expires"]
    asked = parse(block("json", "ws-auth"), Encoding.JSON)
    assert isinstance(asked, Auth)
    assert (asked.id, asked.token) == (value("ws-authenticated")["id"], value("ws-auth")["token"])
    table = PROTOCOL.split("| claim | meaning | without it |")[1].split("\n\n")[0]
    assert set(re.findall(r"`depthcast`: `(\w+)`", table)) == set(KEYS)


def test_welcome_tells_the_default_limits() -> None:
    defaults = GatewaySettings()
    welcome = value("ws-welcome")
    assert welcome["limits"] == {name: getattr(defaults, setting) for name, setting in CLIENT_LIMITS.items()}
    assert welcome["heartbeat_ms"] == defaults.heartbeat_ms


def test_depths() -> None:
    line = next(line for line in PROTOCOL.splitlines() if line.startswith("- `depth`"))
    listed = line.split("one of ")[1].split(" for the full book")[0]
    assert {int(number) for number in re.findall(r"\d+", listed)} == set(DEPTHS)
    (said,) = re.findall(
        r"Levels per side: ([\d, or]+) for the full book", inspect.getdoc(Client.subscribe) or ""
    )
    assert {int(number) for number in re.findall(r"\d+", said)} == set(DEPTHS)


# --- section 5, and the whole -----------------------------------------------------------------------------


def test_every_setting_is_listed_with_default_and_bounds() -> None:
    rows = re.findall(r"^\| `(DEPTHCAST_\w+)` \| (.*?) \| (.*?) \| (.*) \|$", PROTOCOL, re.MULTILINE)
    listed = {name: rest for name, *rest in rows}
    assert len(listed) == len(rows)
    expected = {}
    for kind in (Settings, IngestorSettings, GatewaySettings, VenueFeedSettings, RelaySettings):
        for item in fields_of(kind):
            least, most, unit = (item.metadata[key] for key in ("least", "most", "unit"))
            default = item.default
            shown = str(default).lower() if isinstance(default, bool) else default
            bounds = "–" if least is None else f"{least} … {most} {unit}".rstrip()
            text = "–" if default in (None, "") else f"`{shown}`"
            expected[variable(item.name)] = [text, bounds, item.metadata["meaning"]]
    assert listed == expected


def test_contract_links_to_its_own_sections() -> None:
    headings = re.findall(r"^#+ (.*)$", PROTOCOL, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    targets = re.findall(r"\]\(#([^)]*)\)", PROTOCOL)
    assert targets
    assert set(targets) <= anchors
