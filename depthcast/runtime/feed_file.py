"""Recorded feeds in files, plain or gzip; each file is a `RecordedFeed`."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Final

from depthcast.feed.detect import FORMATS, LINES_LOOKED_AT, detect
from depthcast.feed.entry import FeedEntry, Format, Instruments
from depthcast.shared.errors import FeedError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol

_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True)
class RecordedFeed:
    """A file whose format and instruments are known; each pass over it starts at the beginning.

    `renamed`: symbol in the file → symbol in the deployment, for those that differ.
    """

    path: Path
    format: Format
    recorded: Instruments
    renamed: Mapping[str, str]

    def name(self, symbol: Symbol) -> Symbol:
        """Return the deployment's name for the file's `symbol`."""
        return Symbol(self.renamed.get(symbol, symbol))

    def instruments(self) -> dict[Symbol, Instrument]:
        """Return the file's instruments under the deployment's names."""
        return {
            self.name(symbol): instrument._replace(symbol=self.name(symbol))
            for symbol, instrument in self.recorded.items()
        }

    def entries(self, registered: Instruments | None = None) -> Iterator[FeedEntry]:
        """Yield all entries under the deployment's names; in ticks and lots of `registered` if given."""
        known = registered or {}
        working = {
            symbol: known.get(self.name(symbol), instrument)._replace(symbol=symbol)
            for symbol, instrument in self.recorded.items()
        }
        try:
            for entry in self.format.entries(str(self.path), read_lines(self.path), working):
                yield entry._replace(symbol=self.name(entry.symbol))
        except ValueError as error:
            raise FeedError(self.path, 0, str(error)) from error


def open_feed(path: Path, format_name: str | None, renames: Mapping[str, str]) -> RecordedFeed:
    """Detect a file's format, unless it is given, and find its instruments; raises `FeedError`."""
    if format_name is None:
        format_ = detect(str(path), list(islice(read_lines(path), LINES_LOOKED_AT)))
    else:
        format_ = FORMATS[format_name]
    recorded = format_.instruments(str(path), read_lines(path))
    unknown = sorted(set(renames) - set(recorded) - {""})
    if unknown:
        raise FeedError(path, 0, f"has no symbol {unknown[0]!r}; it has {', '.join(recorded)}")
    return RecordedFeed(path, format_, recorded, _resolved(path, recorded, renames))


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the file's lines, decompressed if it is gzip; raises `FeedError`."""
    try:
        with path.open("rb") as file:
            yield from _unpacked(file)
    except (OSError, EOFError, zlib.error) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FeedError(path, 0, f"cannot be read: {problem}") from error


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if magic != _GZIP_MAGIC:
        yield from file
        return
    with gzip.open(file) as unpacked:
        yield from unpacked


def _resolved(path: Path, recorded: Instruments, renames: Mapping[str, str]) -> dict[str, str]:
    """Return the renames by symbol; the key "" stands for the file's only symbol."""
    renamed = dict(renames)
    if "" in renamed:
        if len(recorded) != 1:
            raise FeedError(path, 0, f"has {len(recorded)} symbols; rename with --symbol OLD=NEW")
        renamed[next(iter(recorded))] = renamed.pop("")
    return renamed
