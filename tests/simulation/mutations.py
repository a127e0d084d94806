"""Puts real mistakes into the program, one at a time, to show that the simulation notices them.

Each is a context manager that patches one function or one line of a script, for a run.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from unittest.mock import patch

import depthcast.gateway.market.channel
import depthcast.ingestor.listed_books
import depthcast.ingestor.runtime.recover
import depthcast.shared.reader
import depthcast.shared.runtime.replicas
from depthcast.broadcaster.retention import Retention
from depthcast.broadcaster.runtime import scripts
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.broadcaster.runtime.server_identity import ServerIdentity
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.market.view import merge
from depthcast.gateway.protocol.messages import ViewDelta
from depthcast.ingestor.book_state import BookState
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.input_progress import InputProgress
from depthcast.ingestor.listed_books import ListedBooks
from depthcast.ingestor.orders import OrdersState
from depthcast.ingestor.recovery import StateFold
from depthcast.ingestor.runtime.input_watch import InputWatch
from depthcast.ingestor.runtime.leadership import Leadership
from depthcast.ingestor.runtime.recover import Recovery
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.replica_choice import Compared, Missing, Report, link_problem, missing_of
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.replicas import ReadingClient
from depthcast.shared.types import Delta

Mutation = Callable[[], AbstractContextManager[Any]]

_COMPARISON: Final = "if found ~= previous then return {0, 'deltas', found} end"
_SRC_CHECK: Final = "if before(input, src) then return {0, 'events', input} end"
_FENCE: Final = (
    "if string.match(found, '^%d+') ~= string.match(ours, '^%d+') or before(found, ours) then\n"
    "  return {0, 'deltas', found}\nend"
)
_NEWER_STAYS: Final = """if not held or before(tail, held) or not before(position_in(value), held) then
    redis.call('SET', key, value)
  end"""
_REJECTS: Final = """
local last_batch = #ARGV - 2 * (#KEYS - 3)
for _, packed in ipairs({unpack(ARGV, last_batch - batches_count + 1, last_batch)}) do
  for _, fields in ipairs(cmsgpack.unpack(packed)) do redis.call('XADD', rejects, '*', unpack(fields)) end
end
"""


def _script(name: str, old: str, new: str) -> Mutation:
    """One of the leader's scripts with a part of its text replaced."""

    def mutate() -> AbstractContextManager[Any]:
        text: str = getattr(scripts, name)
        assert old in text, f"{name} has changed"
        return patch.object(scripts, name, text.replace(old, new))

    return mutate


def _source(owner: Any, name: str, old: str, new: str) -> Mutation:
    """A function of `owner`, a class, with a part of its text replaced."""

    def mutate() -> AbstractContextManager[Any]:
        function = getattr(owner, name)
        text = textwrap.dedent(inspect.getsource(function))
        assert text.count(old) == 1, f"{owner.__name__}.{name} has changed"
        made: dict[str, Any] = {}
        names = {**function.__globals__, "_as_before": _as_before, "_resumed_blindly": _resumed_blindly}
        exec(text.replace(old, new), names, made)  # noqa: S102  # the program's own text
        return patch.object(owner, name, made[name])

    return mutate


async def _taken_as_written(publisher: Publisher, publication: Any) -> str | None:
    try:
        return await publisher._send(publication)
    except RedisUnavailable:
        return None


async def _any_server(_same: ServerIdentity, connection: Any) -> None:
    await connection.on_connect()


def _offered_across_gaps(replica: Replica, delta: Delta) -> ApplyResult:
    return ApplyResult.APPLIED if delta.seq > replica.seq else ApplyResult.ALREADY


@contextmanager
def _any_history() -> Iterator[None]:
    program = depthcast.shared.runtime.replicas
    with (
        patch.object(program, "link_problem", _of_any_primary),
        patch.object(program, "missing_of", _of_any_history),
    ):
        yield


@contextmanager
def _no_continuity() -> Iterator[None]:
    with (
        patch.object(depthcast.shared.reader, "follows", lambda *_: True),
        patch.object(Replica, "offer", _offered_across_gaps),
    ):
        yield


def _without_deletions(deltas: Sequence[ViewDelta]) -> ViewDelta:
    merged = merge(deltas)
    kept = [[row for row in rows if row[1]] for rows in (merged.bids, merged.asks)]
    return merged._replace(bids=kept[0], asks=kept[1]) if len(deltas) > 1 else merged


def _resumed_blindly(channel: Any, resume: Any) -> Any:
    return None if channel.view is None else channel.history.state_at(resume.seq)


def _as_before(instrument: Instrument, before: BookState | None) -> Instrument:
    """`instrument` with the kind of feed of a book."""
    if before is None:
        return instrument
    return instrument._replace(feed=Feed.ORDERS if isinstance(before, OrdersState) else Feed.LEVELS)


async def _look_no_more(_follower: Follower) -> None:
    """Looks for no snapshot."""


def _ignore_doubts(_engine: Engine, _doubts: Mapping[str, str]) -> None:
    """Takes no doubt over."""


def _unlinked(replica: Mapping[str, Any], primary: Mapping[str, Any]) -> Report | None:
    """What is wrong with a replica, whatever its link does."""
    linked = {**replica, "master_link_status": "up", "master_sync_in_progress": 0}
    return link_problem(linked, primary)


def _of_any_primary(replica: Mapping[str, Any], primary: Mapping[str, Any]) -> Report | None:
    """What is wrong with a replica, whomever it follows."""
    return link_problem(replica, {**primary, "master_replid": replica.get("master_replid")})


def _of_any_history(ends: Compared) -> Missing:
    """What a replica lacks, whatever it holds."""
    return missing_of(ends) or Missing(None, 0)


def _ignore_times(_engine: Engine, _times: Mapping[str, tuple[int | None, int]]) -> None:
    """Takes no times over."""


MUTATIONS: Final[dict[str, Mutation]] = {
    "none": nullcontext,
    "trim-before-checkpoint": lambda: patch.object(
        Retention, "events_from", lambda _retention, published: published
    ),
    "publish-without-comparison": _script("PUBLISH", _COMPARISON, ""),
    "publish-beyond-input": _script("PUBLISH", _SRC_CHECK, ""),
    "rejects-before-comparison": _script("PUBLISH", _COMPARISON, _REJECTS + _COMPARISON),
    "keep-without-fence": _script("STORE", _FENCE, ""),
    "trim-without-fence": _script("TRIM", _FENCE, ""),
    "old-checkpoint-replaces-newer": _script("STORE", _NEWER_STAYS, "redis.call('SET', key, value)"),
    "unknown-outcome-taken-as-written": lambda: patch.object(
        Publisher, "_send_until_known", _taken_as_written
    ),
    "another-server-not-noticed": lambda: patch.object(ServerIdentity, "check", _any_server),
    "seq-without-epoch": lambda: patch.object(
        depthcast.ingestor.listed_books, "first_seq", lambda _epoch, recovered: recovered + 1
    ),
    "holes-in-positions-not-noticed": lambda: patch.object(
        depthcast.shared.reader, "follows", lambda *_: True
    ),
    "no-continuity-at-all": _no_continuity,
    "doubt-forgotten-by-a-new-leader": lambda: patch.object(Engine, "restore_doubts", _ignore_doubts),
    "times-forgotten-by-a-new-leader": lambda: patch.object(Engine, "restore_times", _ignore_times),
    "doubt-ends-in-spite-of-rejects": _source(Engine, "_apply_doubt", "elif name in failed:", "elif False:"),
    "seal-then-crash": _source(StateFold, "add", "if position.n:", "if True:"),
    "some-moves-taken-for-all": _source(
        StateFold, "add", "if position.n:", "if position.n or entry.updates:"
    ),
    "moves-numbered-by-the-seal": _source(
        Leadership, "_move", "self.engine.enter_epoch(epoch)", "self.engine.enter_epoch(sealed)"
    ),
    "book-outlives-its-listing": _source(
        ListedBooks,
        "_begin",
        "state = self.new_state(listing.instrument)",
        "state = before or self.new_state(listing.instrument)",
    ),
    "feed-of-the-older-listing-is-kept": _source(
        ListedBooks,
        "_begin",
        "self.new_state(listing.instrument)",
        "self.new_state(_as_before(listing.instrument, before))",
    ),
    "listing-at-a-lower-seq": _source(
        ListedBooks, "advance", "max(merger.seq, self._floors.get(symbol, 0))", "merger.seq"
    ),
    "withdrawn-listing-continued": _source(
        depthcast.ingestor.runtime.recover, "standing", "elif not listing.withdrawn and (", "elif ("
    ),
    "deleted-input-not-counted": _source(
        InputProgress, "_check", "self.lost += max(missing, 0)", "self.lost += 0"
    ),
    "lost-input-forgotten-by-a-new-leader": _source(InputWatch, "__init__", "info.lost or 0", "0"),
    "snapshot-not-looked-for-again": lambda: patch.object(Follower, "_look_again", _look_no_more),
    "lost-book-begins-empty": _source(Recovery, "_check_lost", "if lost:", "if False:"),
    "types-not-checked-first": _script(
        "PUBLISH", "if held ~= 'none' and held ~= kind then", "if held == 'nothing' then"
    ),
    "conflation-drops-deletions": lambda: patch.object(
        depthcast.gateway.market.channel, "merge", _without_deletions
    ),
    "resume-without-digest": _source(
        Session,
        "subscribe",
        "None if resume is None else channel.state_of(resume)",
        "resume and _resumed_blindly(channel, resume)",
    ),
    "half-moved-slot-not-noticed": lambda: patch.object(ReadingClient, "_moving", lambda _: ()),
    "replica-read-without-its-link": lambda: patch.object(
        depthcast.shared.runtime.replicas, "link_problem", _unlinked
    ),
    "replica-of-another-primary-read": _any_history,
}
"""All mistakes by name; `none` is the unchanged program."""

IN_A_CLUSTER: Final = frozenset(
    ("half-moved-slot-not-noticed", "replica-read-without-its-link", "replica-of-another-primary-read")
)
"""Mistakes that are looked for in a cluster, whose readers read from replicas."""

MISTAKES: Final[dict[str, str]] = {
    "trim-before-checkpoint": "input is trimmed up to what was published, although checkpoints need it",
    "publish-without-comparison": "a leader, and a seal, append without comparing the last position",
    "publish-beyond-input": "a leader publishes what was made of input that the log has lost",
    "rejects-before-comparison": "a resend writes the rejects again",
    "keep-without-fence": "snapshots and checkpoints are written although the stream has lost what they hold",
    "trim-without-fence": "streams are trimmed up to recovery state that is lost",
    "old-checkpoint-replaces-newer": "a late copy of a checkpoint replaces what came after it",
    "unknown-outcome-taken-as-written": "a publish whose reply was lost counts as written",
    "another-server-not-noticed": "a leadership goes on at another server process",
    "seq-without-epoch": "a new leader goes on counting where it recovered",
    "holes-in-positions-not-noticed": "readers look at `prev_seq` alone",
    "no-continuity-at-all": "readers look neither at positions nor at `prev_seq`",
    "doubt-forgotten-by-a-new-leader": "a new leader takes a book in doubt for right",
    "times-forgotten-by-a-new-leader": "a new leader does not know when the last input of a book came",
    "doubt-ends-in-spite-of-rejects": "a producer's `live` ends a doubt though its events were rejected",
    "seal-then-crash": "after a crash between a seal and the next entry every book begins empty",
    "some-moves-taken-for-all": "after a crash amid the moves, books that were not moved begin empty",
    "moves-numbered-by-the-seal": "moves in steps have the numbers of the seal's epoch",
    "book-outlives-its-listing": "a symbol that was withdrawn and comes back goes on with its book",
    "feed-of-the-older-listing-is-kept": "a listing with another feed reads events as the one before did",
    "listing-at-a-lower-seq": "a listing begins at a seq that the one before it has used",
    "withdrawn-listing-continued": "a new leader goes on with a listing that was withdrawn",
    "deleted-input-not-counted": "input that is deleted unread is passed over without a word",
    "lost-input-forgotten-by-a-new-leader": "a new leader begins to count lost input anew",
    "snapshot-not-looked-for-again": "a reader that found no snapshot waits for the next delta",
    "lost-book-begins-empty": "a book whose snapshot was deleted begins empty",
    "types-not-checked-first": "a script fails at a key of another type after it has written to others",
    "conflation-drops-deletions": "a merged delta lacks the levels that went",
    "resume-without-digest": "a client's book is taken to be right by its seq alone",
    "half-moved-slot-not-noticed": "readers stay at a replica while its slot is being moved",
    "replica-read-without-its-link": "readers stay at a replica that hears nothing of its primary",
    "replica-of-another-primary-read": "readers stay at a replica of a master that was replaced",
}
"""A description of each mistake, for the table in `docs/testing.md`."""


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Run the program with the mistake `name` during the block."""
    with MUTATIONS[name or "none"]():
        yield
