"""Commands on streams."""

from collections.abc import Callable, Iterator
from typing import Final

from tests.simulation.data import Data
from tests.simulation.replies import SYNTAX, Reply, ReplyError, integer
from tests.simulation.streams import MOST, ZERO, Fields, Id, Stream

INVALID_ID: Final = "ERR Invalid stream ID specified as stream command argument"
TOO_SMALL: Final = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
ZERO_ID: Final = "ERR The ID specified in XADD must be greater than 0-0"


def text_of(stream_id: Id) -> bytes:
    """The text of a stream ID."""
    return b"%d-%d" % stream_id


def parse_id(raw: bytes, n_missing: int = 0) -> Id:
    """Read `<ms>` or `<ms>-<n>`; raises `ReplyError`."""
    ms, dash, n = raw.partition(b"-")
    if not ms.isdigit() or (dash and not n.isdigit()):
        raise ReplyError(INVALID_ID)
    found = int(ms), int(n) if dash else n_missing
    if max(found) > MOST:
        raise ReplyError(INVALID_ID)
    return found


def _edge(raw: bytes, *, last: bool) -> Id:
    """One end of a range: `-`, `+`, an ID, or `(` and an ID that is not included."""
    if raw in (b"-", b"+"):
        return ZERO if raw == b"-" else (MOST, MOST)
    if not raw.startswith(b"("):
        return parse_id(raw, MOST if last else 0)
    ms, n = parse_id(raw[1:], MOST if last else 0)
    if last and (ms, n) == ZERO:
        raise ReplyError("ERR invalid end ID for the interval")
    if last:
        return (ms, n - 1) if n else (ms - 1, MOST)
    return (ms, n + 1) if n < MOST else (ms + 1, 0)


def _entries(stream: Stream, places: list[int]) -> Reply:
    return [[text_of(stream.ids[place]), list(stream.fields[place])] for place in places]


# --- writing ----------------------------------------------------------------------------------------------


class _Trimming:
    """`MAXLEN|MINID [=|~] threshold [LIMIT count]` as XADD and XTRIM take it."""

    def __init__(self, strategy: bytes, words: list[bytes]) -> None:
        """Take its words from the front of `words`."""
        self.by_length = strategy.upper() == b"MAXLEN"
        self.approximate = False
        if words[0] in (b"=", b"~"):
            self.approximate = words.pop(0) == b"~"
        threshold = words.pop(0)
        self.length = integer(threshold) if self.by_length else 0
        self.first = ZERO if self.by_length else parse_id(threshold)
        if words and words[0].upper() == b"LIMIT":
            if not self.approximate:
                raise ReplyError("ERR syntax error, LIMIT cannot be used without the special ~ option")
            del words[:2]

    def apply(self, stream: Stream) -> int:
        going = stream.beyond_length(self.length) if self.by_length else stream.before(self.first)
        return stream.trim(going, approximate=self.approximate)


def _xadd(data: Data, key: bytes, *arguments: bytes) -> Reply:
    words = list(arguments)
    trimming = None
    make = True
    while (word := words.pop(0)).upper() in (b"MAXLEN", b"MINID", b"NOMKSTREAM"):
        if word.upper() == b"NOMKSTREAM":
            make = False
        else:
            trimming = _Trimming(word, words)
    if len(words) < 2 or len(words) % 2:
        raise ReplyError("ERR wrong number of arguments for 'xadd' command")
    stream = data.stream(key)
    if stream is None and not make:
        return None
    stream_id = _new_id(word, stream or Stream(), data.now_ms)
    if stream is None:
        stream = data.make_stream(key)
    return _append(data, key, stream, stream_id, words, trimming)


def _append(
    data: Data, key: bytes, stream: Stream, stream_id: Id, fields: Fields, trimming: _Trimming | None
) -> Reply:
    stream.add(stream_id, fields)
    data.appended(key, stream_id, fields)
    data.grown[key] = None
    if trimming is not None:
        trimming.apply(stream)
    return text_of(stream_id)


def _new_id(raw: bytes, stream: Stream, now_ms: int) -> Id:
    if raw == b"*":
        return stream.next_id(now_ms)
    if raw.endswith(b"-*"):
        ms = parse_id(raw[:-2])[0]
        stream_id = (ms, stream.last_id[1] + 1 if ms == stream.last_id[0] else 0)
    else:
        stream_id = parse_id(raw)
    if stream_id == ZERO:
        raise ReplyError(ZERO_ID)
    if stream_id <= stream.last_id:
        raise ReplyError(TOO_SMALL)
    return stream_id


def _xtrim(data: Data, key: bytes, strategy: bytes, *arguments: bytes) -> Reply:
    if strategy.upper() not in (b"MAXLEN", b"MINID"):
        raise ReplyError(SYNTAX)
    trimming = _Trimming(strategy, list(arguments))
    stream = data.stream(key)
    return 0 if stream is None else trimming.apply(stream)


def _xdel(data: Data, key: bytes, *ids: bytes) -> Reply:
    stream = data.stream(key)
    return 0 if stream is None else sum([stream.delete(stream_id) for stream_id in map(parse_id, ids)])


# --- reading ----------------------------------------------------------------------------------------------


def _xlen(data: Data, key: bytes) -> Reply:
    stream = data.stream(key)
    return 0 if stream is None else len(stream.ids)


def _xrange(data: Data, key: bytes, first: bytes, last: bytes, *options: bytes) -> Reply:
    return _range(data, key, first, last, options, newest=False)


def _xrevrange(data: Data, key: bytes, last: bytes, first: bytes, *options: bytes) -> Reply:
    return _range(data, key, first, last, options, newest=True)


def _range(
    data: Data, key: bytes, first: bytes, last: bytes, options: tuple[bytes, ...], *, newest: bool
) -> Reply:
    if options and (len(options) != 2 or options[0].upper() != b"COUNT"):
        raise ReplyError(SYNTAX)
    ends = _edge(first, last=False), _edge(last, last=True)
    stream = data.stream(key)
    if stream is None:
        return []
    count = integer(options[1]) if options else None
    return _entries(stream, stream.between(*ends, count, newest=newest))


def parse_xread(data: Data, arguments: tuple[bytes, ...]) -> tuple[int | None, int | None, dict[bytes, Id]]:
    """(count, time to block in ms, last ID read by key); `$` becomes the stream's current last ID."""
    words: Iterator[bytes] = iter(arguments)
    count = block_ms = None
    for word in words:
        if word.upper() == b"COUNT":
            count = integer(next(words))
        elif word.upper() == b"BLOCK":
            block_ms = integer(next(words))
        elif word.upper() == b"STREAMS":
            break
        else:
            raise ReplyError(SYNTAX)
    rest = list(words)
    half = len(rest) // 2
    if not rest or len(rest) % 2:
        raise ReplyError(
            "ERR Unbalanced 'xread' list of streams: "
            "for each stream key an ID, '+', or '$' must be specified."
        )
    return (
        count,
        block_ms,
        {key: _cursor(data, key, raw) for key, raw in zip(rest[:half], rest[half:], strict=True)},
    )


def _cursor(data: Data, key: bytes, raw: bytes) -> Id:
    if raw != b"$":
        return parse_id(raw)
    stream = data.stream(key)
    return ZERO if stream is None else stream.last_id


def read(data: Data, count: int | None, cursors: dict[bytes, Id]) -> Reply:
    """The result of `XREAD` now, None if there is none."""
    found = []
    for key, after in cursors.items():
        stream = data.stream(key)
        if stream is not None and stream.last_id > after and (places := stream.after(after, count)):
            found.append([key, _entries(stream, places)])
    return found or None


def _xread(data: Data, *arguments: bytes) -> Reply:
    count, _, cursors = parse_xread(data, arguments)
    return read(data, count, cursors)


def _xinfo(data: Data, word: bytes, key: bytes) -> Reply:
    stream = data.stream(key)
    if word.upper() != b"STREAM":
        raise ReplyError(SYNTAX)
    if stream is None:
        raise ReplyError("ERR no such key")
    nodes = stream.nodes[-1].number - stream.nodes[0].number + 1 if stream.nodes else 0
    ends = [_entries(stream, [place])[0] if stream.ids else None for place in (0, -1)]
    return [
        b"length", len(stream.ids), b"radix-tree-keys", nodes, b"radix-tree-nodes", nodes + 1,
        b"last-generated-id", text_of(stream.last_id), b"max-deleted-entry-id", text_of(stream.max_deleted),
        b"entries-added", stream.added, b"recorded-first-entry-id",
        text_of(stream.ids[0] if stream.ids else ZERO), b"groups", 0,
        b"first-entry", ends[0], b"last-entry", ends[1],
    ]  # fmt: skip


STREAM_COMMANDS: Final[dict[bytes, Callable[..., Reply]]] = {
    b"XADD": _xadd,
    b"XTRIM": _xtrim,
    b"XDEL": _xdel,
    b"XLEN": _xlen,
    b"XRANGE": _xrange,
    b"XREVRANGE": _xrevrange,
    b"XREAD": _xread,
    b"XINFO": _xinfo,
}
