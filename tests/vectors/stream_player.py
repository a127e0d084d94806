"""Plays a stream conversation to the reader of the program, without Redis."""

from typing import Any

from depthcast.shared.codec import decode_snapshot
from depthcast.shared.errors import CodecError
from depthcast.shared.position import Position
from depthcast.shared.reader import LoadedSnapshots, PartitionReader
from depthcast.shared.types import Snapshot
from tests.vectors.lines import Line, Vector
from tests.vectors.player import shown_levels

Message = dict[str, Any]

TIMES = ("event_ts", "input_ts")
"""What `holds` says only where a vector is about it."""


class StreamPlayer:
    """One conversation with one reader. Every method is the meaning of one key of a line."""

    def __init__(self, vector: Vector) -> None:
        self.symbols = set(vector.head["symbols"])
        self.reader = PartitionReader(self.symbols.__contains__)

    def play(self, line: Line) -> None:
        ((key, value),) = line.items()
        getattr(self, f"play_{key}")(value)

    def play_load(self, given: Message) -> None:
        reader = self.reader
        due = "everything" if reader.lost_reason is not None else sorted(reader.missing)
        assert due == given["of"], "what the reader has to load"
        snapshots: LoadedSnapshots = {
            symbol: found and _read_snapshot(found) for symbol, found in given["snapshots"].items()
        }
        reader.load(Position.parse(given["tail"]), snapshots)

    def play_entry(self, entry: Message) -> None:
        assert (self.reader.lost_reason, self.reader.missing) == (None, {}), "the reader has to load first"
        fields = [(name.encode(), bytes.fromhex(value["hex"])) for name, value in entry["fields"].items()]
        self.reader.read(Position.parse(entry["id"]), fields)

    def play_tail(self, last: str) -> None:
        self.reader.check_tail(Position.parse(last))

    def play_holds(self, held: Message) -> None:
        for symbol, expected in held.items():
            shown = self.shown(symbol)
            if expected is not None and shown is not None:
                shown = {key: value for key, value in shown.items() if key not in TIMES or key in expected}
            assert shown == expected, symbol

    def shown(self, symbol: str) -> Message | None:
        """What the reader shows of a symbol, in the form of `holds`; every entry counts as young."""
        replica = self.reader.shown.get(symbol)
        if replica is None:
            return None
        listing = replica.listing
        assert listing is not None
        stale = not self.reader.is_current(symbol) or listing.withdrawn or replica.doubt is not None
        return {
            "state": "stale" if stale else "live",
            "seq": replica.seq,
            "digest": replica.digest,
            **shown_levels(replica),
            "listing": listing.number,
            "tick_size": listing.instrument.tick_size,
            "lot_size": listing.instrument.lot_size,
            "reason": replica.doubt,
            "event_ts": replica.event_ts,
            "input_ts": replica.input_ts or None,
        }


def _read_snapshot(found: Message) -> tuple[Position, Snapshot] | None:
    """A snapshot that is wrong or malformed counts as none."""
    try:
        return Position.parse(found["id"]), decode_snapshot(bytes.fromhex(found["s"]["hex"]))
    except CodecError:
        return None


def play(vector: Vector) -> None:
    """Play a whole conversation; raises `AssertionError` with the line where the reader differs."""
    player = StreamPlayer(vector)
    for number, line in enumerate(vector.lines, 2):
        try:
            player.play(line)
        except AssertionError as error:
            error.add_note(f"{vector.path.name}, line {number}: {line}")
            raise
