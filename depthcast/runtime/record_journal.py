"""The journal of `depthcast record`: rows that are not in a Parquet file yet, so that a kill loses none.

One frame holds everything of one stream entry. A frame that is not whole, as after a kill, ends the journal.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

from depthcast.feed.recording import RecordedRow
from depthcast.shared.codec import pack, unpack
from depthcast.shared.errors import CodecError
from depthcast.shared.position import Position

_HEAD: Final = Struct("<II")
"""Length of a frame, and its crc32."""

FRAME_BYTES_MAX: Final = 1 << 30


class Frame(NamedTuple):
    """One entry of a partition: the positions up to which everything is recorded, and its rows by symbol."""

    positions: Mapping[int, Position]
    rows: list[tuple[str, RecordedRow]]


class Journal:
    """Numbered files in a folder; the newest is written to. `number`: of that one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self._file: BinaryIO | None = None
        self._unsynced = False

    def read(self) -> Iterator[Frame]:
        """Yield the frames of all files that are there, the oldest first."""
        for path in self._paths():
            self.number = max(self.number, int(path.stem))
            yield from _frames(path.read_bytes())

    def begin(self, positions: Mapping[int, Position]) -> None:
        """Begin a new file, and delete all others: everything of them is in Parquet files."""
        old = self._paths()
        self.close()
        self.number += 1
        path = self.folder / f"{self.number:012d}.journal"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)
        self.append(Frame(positions, []))
        self.sync()
        sync_folder(self.folder)
        for each in old:
            each.unlink()

    def append(self, frame: Frame) -> None:
        """Write a frame; it survives a kill of this process at once, and one of the machine after `sync`."""
        assert self._file is not None, "begin first"
        positions = {number: list(position) for number, position in frame.positions.items()}
        payload = pack([positions, [[symbol, *row] for symbol, row in frame.rows]])
        whole = _HEAD.pack(len(payload), crc32(payload)) + payload
        written = 0
        while written < len(whole):
            written += self._file.write(whole[written:])
        self._unsynced = True

    def sync(self) -> None:
        """Make the disk keep what was written."""
        if self._file is not None and self._unsynced:
            os.fsync(self._file.fileno())
            self._unsynced = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.journal"))


def _frames(raw: bytes) -> Iterator[Frame]:
    at = 0
    while at + _HEAD.size <= len(raw):
        size, checksum = _HEAD.unpack_from(raw, at)
        payload = raw[at + _HEAD.size : at + _HEAD.size + size]
        if size > FRAME_BYTES_MAX or len(payload) < size or crc32(payload) != checksum:
            return
        at += _HEAD.size + size
        try:
            yield _frame(unpack(payload, "journal"))
        except (CodecError, TypeError, ValueError):
            return


def _frame(value: Any) -> Frame:
    positions, rows = value
    return Frame(
        {number: Position(*position) for number, position in positions.items()},
        [(symbol, RecordedRow(*row)) for symbol, *row in rows],
    )


def sync_folder(folder: Path) -> None:
    """Make the disk keep the names of new files in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
