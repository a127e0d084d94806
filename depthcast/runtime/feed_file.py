"""Recorded feeds in files, plain or compressed; each file is a `RecordedFeed`."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

from depthcast.feed import recorded_books
from depthcast.feed.account import Account
from depthcast.feed.detect import FORMATS, detect
from depthcast.feed.entry import LINES_LOOKED_AT, FeedEntry, Format, Head, Instruments, Recording, Source
from depthcast.shared.errors import FeedError, InstrumentsError
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol, is_symbol

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES: Final = 1 << 16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_START_BYTES: Final = 64


@dataclass(frozen=True)
class RecordedFeed:
    """A file whose format and instruments are known; each pass over it starts at the beginning.

    `renamed`: symbol in the file → symbol in the deployment. `account`: what the last pass noticed.
    """

    path: Path
    format: Format
    recording: Recording
    renamed: Mapping[str, Symbol]
    account: Account = field(default_factory=Account)

    def instruments(self) -> dict[Symbol, Instrument]:
        """Return the file's instruments under the deployment's names."""
        return {
            self.renamed[name]: each.instrument._replace(symbol=self.renamed[name])
            for name, each in self.recording.recorded.items()
        }

    def check(self, registered: Instruments) -> None:
        """Raise `InstrumentsError` if a registered feed differs, or a number is no multiple of its size."""
        for name, recorded in self.recording.recorded.items():
            ours, theirs = recorded.instrument, registered.get(self.renamed[name])
            if theirs is None:
                continue
            if theirs.feed != ours.feed:
                raise InstrumentsError(
                    theirs.symbol,
                    f"is registered with feed {theirs.feed!s}, the recording is a {ours.feed!s} feed; "
                    "replay it under another name with --symbol",
                )
            if not recorded.sized:
                continue
            for what, needed, size in (
                ("tick_size", recorded.tick_needed, theirs.tick_size),
                ("lot_size", recorded.lot_needed, theirs.lot_size),
            ):
                if needed % Decimal(size):
                    raise InstrumentsError(
                        theirs.symbol,
                        f"is registered with {what} {size}, the recording needs {needed.normalize():f}; "
                        "replay it under another name with --symbol",
                    )

    def entries(self, registered: Instruments | None = None, *, verify: bool = False) -> Iterator[FeedEntry]:
        """Yield all entries under the deployment's names; in ticks and lots of `registered` if given.

        `registered`: what the books stand for, with the numbers of their listings. `verify`: with their
        oracles, which may stand on later lines.
        """
        known = registered or {}
        self.account.__init__()  # type: ignore[misc] # a new pass
        working = {
            name: known.get(self.renamed[name], each.instrument)
            for name, each in self.recording.recorded.items()
        }
        try:
            for entry in self.recording.entries(working, self.account, verify=verify):
                yield entry._replace(
                    symbol=self.renamed[entry.symbol], listing=working[entry.symbol].listing or None
                )
            if ends_within_a_line(self.path):
                self.account.notes.append("the last line has no end: was the file cut off?")
        except ValueError as error:
            raise FeedError(self.path, 0, str(error)) from error


def open_feed(path: Path, format_name: str | None, renames: Mapping[str, str]) -> RecordedFeed:
    """Detect a file's format, unless it is given, and find its instruments; raises `FeedError`.

    A folder is a recording of `depthcast record`.
    """
    if path.is_dir():
        format_ = recorded_books.FORMAT
    else:
        format_ = detect(str(path), read_head(path)) if format_name is None else FORMATS[format_name]
    try:
        recording = format_.read(source_of(path))
    except ValueError as error:
        raise FeedError(path, 0, str(error)) from error
    return RecordedFeed(path, format_, recording, _resolved(path, recording, renames))


def source_of(path: Path) -> Source:
    """Return what a format reads a file by."""
    return Source(
        str(path),
        path.name,
        partial(read_lines, path),
        partial(read_chunks, path),
        partial(open_file, path),
        partial(_beside, path),
    )


def read_head(path: Path) -> Head:
    """Return the first bytes and lines of a file; raises `FeedError`."""
    with _opened(path) as file:
        start = file.read(_START_BYTES)
    if b"\0" in start:  # no text: its lines would have any length
        return Head(path.name, start, [])
    lines = (line.strip() for line in read_lines(path))
    return Head(path.name, start, list(islice((line for line in lines if line), LINES_LOOKED_AT)))


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines, decompressed if it is gzip, without a byte order mark; raises `FeedError`."""
    with _opened(path) as file:
        for number, line in enumerate(file):
            yield line if number else line.removeprefix(_BYTE_ORDER_MARK)


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes, decompressed; raises `FeedError`."""
    with _opened(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def ends_within_a_line(path: Path) -> bool:
    """Return whether a file of plain text ends without the end of its last line."""
    if path.is_dir():
        return False
    with open_file(path) as file:
        start = file.read(_START_BYTES)
        if not start or b"\0" in start or start.startswith((_GZIP_MAGIC, _ZSTD_MAGIC)):
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def open_file(path: Path) -> IO[bytes]:
    """Open a file to be read as bytes; raises `FeedError`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise FeedError(path, 0, f"cannot be read: {error.strerror or error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_ZSTD_MAGIC))
            file.seek(0)
            if magic.startswith(_GZIP_MAGIC):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast("IO[bytes]", unpacked)
            elif magic == _ZSTD_MAGIC:
                with _zstd(path).ZstdFile(file) as unpacked:
                    yield cast("IO[bytes]", unpacked)
            else:
                yield file
    except _unreadable() as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FeedError(path, 0, f"cannot be read: {problem}") from error


def _zstd(path: Path) -> Any:
    """Return the module that reads zstd; raises `FeedError` where there is none."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise FeedError(path, 0, "is compressed by zstd: pip install 'depthcast[dbn]'") from error
    return zstd


def _unreadable() -> tuple[type[Exception], ...]:
    """The errors of files that cannot be read; that of zstd once the module that reads it was loaded."""
    module = sys.modules.get("compression.zstd") or sys.modules.get("backports.zstd")
    known = OSError, EOFError, zlib.error
    return known if module is None else (*known, module.ZstdError)


def _beside(path: Path, pattern: str) -> Mapping[str, Callable[[], Iterable[bytes]]]:
    try:
        names = sorted(each.name for each in path.parent.iterdir() if each.match(pattern) and each != path)
    except OSError:
        return {}
    return {name: partial(read_lines, path.parent / name) for name in names}


def _resolved(path: Path, recording: Recording, renames: Mapping[str, str]) -> dict[str, Symbol]:
    """Return the deployment's name of every symbol; the key "" of `renames` is the file's only symbol."""
    recorded = list(recording.recorded)
    unknown = sorted(set(renames) - set(recorded) - {""})
    if unknown:
        raise FeedError(path, 0, f"has no symbol {unknown[0]!r}; it has {', '.join(recorded)}")
    renamed = dict(renames)
    if "" in renamed:
        if len(recorded) != 1:
            raise FeedError(path, 0, f"has {len(recorded)} symbols; rename with --symbol OLD=NEW")
        renamed[recorded[0]] = renamed.pop("")
    found = {name: Symbol(renamed.get(name, name.replace("/", "-"))) for name in recorded}
    for name, symbol in found.items():
        if not is_symbol(symbol):
            raise FeedError(
                path, 0, f"{name!r} is not a valid Depthcast symbol; give it one with --symbol {name}=NAME"
            )
    if len(set(found.values())) < len(found):
        raise FeedError(path, 0, "has two symbols that would get one name; rename with --symbol OLD=NEW")
    return found
