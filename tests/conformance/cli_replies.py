"""`python -m tests.conformance.cli_replies`: every command line of ours, answered with every error reply.

A deployment runs on a real server. Each command of `depthcast` that talks to Redis runs in this process,
behind a proxy, once undisturbed, and then once for each command that it was seen to send and each reply. It
has to print what it prints undisturbed, or to end with a status other than 0 and name the reply and what to
do; afterwards it has to succeed.
"""

import asyncio
import io
import json
import logging
import os
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar
from unittest.mock import patch

import click

from depthcast.cli.main import main as depthcast
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.runtime.recorder import RecordCounts
from depthcast.shared.reply_remedies import UNREACHED, remedy_of
from depthcast.shared.runtime import command as commands
from depthcast.shared.runtime.redis import execute
from depthcast.shared.runtime.stop import Stop
from tests.conformance.cluster_of_one import beside, cluster_options, form_cluster
from tests.conformance.error_replies import PREFIX, REPLIES, SHORT, ClusterRun
from tests.conformance.sent import sent
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.proxy import FaultProxy
from tests.redis_client import patient
from tests.waiting import eventually

T = TypeVar("T")

SECRET: Final = "the-password-of-the-sweep"
FOR_S: Final = 0.15
"""A reply is given for so long after the first time, or to its command alone if that ends earlier."""
ENDS_WITHIN_S: Final = 60.0
TRIES_PER_S_MAX: Final = 150
WAIT_S: Final = "30"
"""How long `depthcast instruments` waits for the leader."""

STILL: Final = "still"
"""Prefix of a deployment that is stopped."""

QUOTED: Final = f"ERR unknown command 'AUTH', with args beginning with: 'default' '{SECRET}' "
"""What a server that does not know AUTH says."""

ELSEWHERE: Final = {
    "ingestor": "tests/conformance/test_error_replies.py",
    "gateway": "tests/conformance/test_error_replies.py",
    "relay": "tests/conformance/test_relay_replies.py",
    "feed live": "tests/integration/test_venue_writer.py",
    "demo": "tests/conformance/test_error_replies.py",  # an ingestor, a gateway and a producer
}
"""Commands with an address of Redis that run until they are ended: which tests sweep what they run."""

NO_REDIS: Final = frozenset(
    (
        "server",
        "bench",
        "capacity",
        "watch",
        "tail",
        "redis-acl",
        "feed formats",
        "token keygen",
        "token issue",
    )
)
"""Commands that never talk to the Redis of a deployment; none of them takes its address."""


def leaves(group: click.Group = depthcast, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its whole name, from the parser itself."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from leaves(found, f"{before}{name} ")
        else:
            yield f"{before}{name}", found


def takes_address(command: click.Command) -> bool:
    """Whether a command has an option for the address of Redis."""
    return any("--redis-url" in parameter.opts for parameter in command.params)


class Case(NamedTuple):
    """A command line.

    - `before`: makes the deployment ready for it. `after`: what has to be so once it succeeded.
    - `until`: it follows, and is ended once this is so; it has to have waited through the replies.
    - `waits`: it waits for as long as Redis refuses.
    - `written`: what it may say when it runs again although the first time it failed: its write was done.
    """

    name: str
    words: tuple[str, ...] = ()
    before: Callable[["Scene"], Coroutine[Any, Any, object]] | None = None
    until: Callable[["Scene"], Coroutine[Any, Any, object]] | None = None
    waits: bool = False
    written: str = ""
    prefix: str = PREFIX
    clustered: bool = True

    @property
    def line(self) -> str:
        return " ".join((self.name, *self.words))


async def _is_new(scene: "Scene", symbol: str = "NEW") -> None:
    """The symbol is not registered, and its listing, if it had one, has ended."""
    await execute(scene.run.client, "HDEL", scene.run.deployment.instruments, symbol)
    await scene.listed(symbol, withdrawn=True)


async def _is_listed(scene: "Scene", symbol: str = "NEW") -> None:
    await execute(scene.run.client, "HSETNX", scene.run.deployment.instruments, symbol, "{}")
    await scene.listed(symbol, withdrawn=False)


async def _is_revoked(scene: "Scene") -> None:
    await execute(scene.run.client, "ZADD", scene.run.deployment.revoked, 2**33, "sub:alice")


async def _not_moved(scene: "Scene") -> None:
    found = await execute(scene.run.client, "KEYS", "*moved*")
    if found:
        await execute(scene.run.client, "DEL", *found)


async def _rejects_come(scene: "Scene") -> None:
    """Reject something, and wait until it is shown."""
    scene.marks += 1
    mark = f"M{scene.marks}"
    await scene.run.send((mark, '[["update","bid",1,1]]'))
    await eventually(lambda: mark in scene.out.getvalue(), message=f"{mark} is shown")


async def _deltas_come(scene: "Scene") -> None:
    """Change a book, and wait until it is recorded."""
    await eventually(lambda: scene.counts.snapshots, message="the recorder has begun")
    before = scene.counts.deltas
    scene.marks += 1
    await scene.run.send(("LEV", f'[["update","bid",5,{scene.marks + 10}]]'))
    await eventually(lambda: scene.counts.deltas > before, message="it records")


async def _is_empty(scene: "Scene") -> None:
    scene.counts = RecordCounts()
    for path in sorted(scene.records.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


CASES: Final = (
    Case("status"),
    Case("status", ("--json",)),
    Case("doctor", ("--ignore", "persistence", "--ignore", "rejects", "--ignore", "gateways")),
    Case("partition", ("LEV",)),
    Case("partition", ("LEV", "--key")),
    Case("rejects"),
    Case("rejects", ("--follow", "--json"), until=_rejects_come, waits=True),
    Case("record", ("RECORDS",), _is_empty, _deltas_come, waits=True),
    Case("instruments list"),
    Case("instruments add", ("NEW", "--wait", WAIT_S), _is_new, written="is registered already"),
    Case("instruments set", ("NEW", "--relist", "--wait", WAIT_S), _is_listed),
    Case("instruments withdraw", ("NEW", "--wait", WAIT_S), _is_listed, written="is not registered"),
    Case("token revoke", ("--subject", "alice")),
    Case("token allow", ("--subject", "alice"), _is_revoked),
    Case("token revoked"),
    Case("repartition", ("2", "--into", "moved"), _not_moved, prefix=STILL, clustered=False),
    Case("feed replay", ("FILE", "--register", "--speed", "max"), waits=True),
    Case(
        "feed synthetic",
        ("--register", "--symbols", "BTC-USD", "--seconds", "0.05", "--speed", "max"),
        waits=True,
    ),
)


class Outcome(NamedTuple):
    """How a command ended. `failure`: an error that is none of ours."""

    status: int
    out: str
    err: str
    refused: int
    seen: Counter[str]
    failure: str = ""


@dataclass
class Scene:
    """The deployment, its proxy, and what the command under test is answered; all in a loop of a thread."""

    run: Run
    link: FaultProxy
    url: str
    records: Path
    file: Path
    still_url: str = ""
    command: str = ""
    reply: str = ""
    refused: int = 0
    marks: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    out: io.StringIO = field(default_factory=io.StringIO)
    counts: RecordCounts = field(default_factory=RecordCounts)
    stop: Callable[[], object] | None = None
    asked: bool = False
    spared: int = 0

    def refuse(self, words: list[bytes]) -> str | None:
        name = sent(words)
        self.seen[name] += 1
        if name != self.command or self.seen[name] <= self.spared:
            return None
        self.refused += 1
        return self.reply

    async def listed(self, symbol: str, *, withdrawn: bool) -> None:
        """Wait until the leader has recorded this of a symbol."""

        async def is_so() -> bool:
            key = self.run.keys.listings
            raw = await execute(self.run.client, "HGET", key, symbol)
            return withdrawn if raw is None else bool(json.loads(raw).get("withdrawn")) == withdrawn

        await eventually(is_so, message=f"{symbol} is listed, or withdrawn: {withdrawn}")

    async def lift(self, case: Case) -> None:
        """End the replies a while after the first, and a command that follows once it has gone on."""
        if self.command:
            with suppress(AssertionError):
                await eventually(lambda: self.refused, timeout_s=2.0)
            await asyncio.sleep(FOR_S)
            self.command = ""
        if case.until is not None:
            try:
                await case.until(self)
            finally:
                self.asked = True
                if self.stop is not None:
                    self.stop()


class Stage:
    """Runs command lines in this thread, against a scene whose loop runs in another one."""

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        self.folder = folder
        self.cluster = cluster
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = ExitStack()
        self._expected: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        for name, value in SHORT.items():
            self._stack.enter_context(patch(name, value))
        self._thread.start()
        self._made: AbstractAsyncContextManager[Scene] = _scene(self.folder, cluster=self.cluster)
        self.scene = self.do(self._made.__aenter__())
        self.scene.link.refuse = self.scene.refuse
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.do(self._made.__aexit__(None, None, None))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._stack.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the scene's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def cases(self) -> list[Case]:
        return [case for case in CASES if case.clustered or not self.cluster]

    def run(self, case: Case, command: str = "", reply: str = "", spared: int = 0) -> Outcome:
        """Run a command line, with one of its commands refused, but the first `spared` times."""
        scene = self.scene
        if case.before is not None:
            self.do(case.before(scene))
        scene.command, scene.reply, scene.refused, scene.seen = command, reply, 0, Counter()
        scene.out, scene.stop, scene.asked, scene.spared = io.StringIO(), None, False, spared
        lifting: Future[None] | None = None
        if command or case.until is not None:
            lifting = asyncio.run_coroutine_threadsafe(scene.lift(case), self._loop)
        outcome = self._invoke(case)
        scene.command = ""
        if lifting is not None:
            if scene.asked:
                lifting.result(120)
            elif case.until is not None:
                outcome = outcome._replace(failure=f"itself, with status {outcome.status}: {outcome.err!r}")
            lifting.cancel()
        return outcome

    def _invoke(self, case: Case) -> Outcome:
        scene, err = self.scene, io.StringIO()
        files = {"FILE": str(scene.file), "RECORDS": str(scene.records)}
        words = [files.get(word, word) for word in (*case.name.split(), *case.words)]
        failure, status = "", 0
        with (
            _environment(case.prefix, scene.url),
            _logs(),
            redirect_stdout(scene.out),
            redirect_stderr(err),
            patch.object(commands, "_until_signalled", partial(_until_stopped, scene)),
            patch("depthcast.cli.record.RecordCounts", lambda: scene.counts),
        ):
            try:
                depthcast.main(words, prog_name="depthcast", standalone_mode=True)
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                failure = repr(error)
        return Outcome(status, scene.out.getvalue(), err.getvalue(), scene.refused, scene.seen, failure)

    def expected(self, case: Case) -> tuple[int, str]:
        """Status and text of a command line that nothing disturbs."""
        if case.line not in self._expected:
            found = self.run(case)
            for _ in range(2):
                if found.status or found.failure:
                    found = self.run(case)  # the machine may have stood still, which doctor says of ingestors
            assert not found.failure, found
            assert found.status == 0, found
            self._expected[case.line] = found.status, _plain(case, found.out)
        return self._expected[case.line]

    def commands(self, case: Case) -> list[tuple[str, int]]:
        """What a command line sends; each from the first time on, and from a later one if there is any."""
        self.expected(case)
        seen = sorted(self.run(case).seen.items())
        return [(name, spared) for name, count in seen for spared in sorted({0, count // 2})]

    def problems(self, case: Case, command: str, reply: str, spared: int = 0) -> tuple[str, list[str]]:
        """Refuse one command with one reply: what happened, and what is wrong with that.

        It is tried again if something is wrong: where the machine stands still for seconds, a command says
        so of the ingestor.
        """
        what, wrong = self._problems(case, command, reply, spared)
        return self._problems(case, command, reply, spared) if wrong else (what, wrong)

    def _problems(self, case: Case, command: str, reply: str, spared: int) -> tuple[str, list[str]]:
        _, wanted = self.expected(case)
        found = self.run(case, command, reply, spared)
        wrong = [*_secrets(found), *_form(found)]
        if found.refused > TRIES_PER_S_MAX * max(FOR_S, 1):
            wrong.append(f"a busy loop: {found.refused} attempts")
        if not found.refused:
            return "-", wrong
        if found.status == 0:
            if _plain(case, found.out) != wanted:
                wrong.append(f"status 0, but the output differs: {found.out!r}, not {wanted!r}")
        else:
            wrong += _named(found, reply)
            if case.waits:
                wrong.append("it did not wait")
            if found.out and case.name not in ("status", "doctor"):
                wrong.append(f"half an answer: {found.out!r}")
        wrong += self._again(case, wanted, failed=found.status != 0)
        return ("goes on" if found.status == 0 else f"ends with {found.status}"), wrong

    def _again(self, case: Case, wanted: str, *, failed: bool) -> list[str]:
        """Run it once more, undisturbed and without making it ready: it has to complete what was begun."""
        if case.waits or not failed:
            return []
        again = self.run(case._replace(before=None))
        if case.written and case.written in again.err:
            return []
        if again.status or _plain(case, again.out) != wanted:
            return [f"not completed by a second run: {again}"]
        return []


def _named(found: Outcome, reply: str) -> list[str]:
    """Whether the reply is named, with its remedy."""
    text = found.out + found.err
    code = reply.split(maxsplit=1)[0] if not reply.startswith("ERR") else reply.partition(",")[0]
    wrong: list[str] = []
    if code == "WRONGTYPE" and "another type" in text and "DEL" in text:
        return wrong
    if code not in text:
        wrong.append(f"the reply is not named: {text!r}")
    remedies = {remedy_of(reply)} | ({UNREACHED} if reply.startswith("STRANGE") else set())
    if not any(remedy in text for remedy in remedies) and not found.out.startswith("{"):
        wrong.append(f"the remedy is not named: {text!r}")
    return wrong


def _secrets(found: Outcome) -> list[str]:
    return ["the password is shown"] if SECRET in found.out + found.err + found.failure else []


def _form(found: Outcome) -> list[str]:
    """One line about an error, and no traceback."""
    wrong = []
    if found.failure:
        wrong.append(f"it ended by {found.failure}")
    if "Traceback" in found.out + found.err:
        wrong.append(f"a traceback: {found.err!r}")
    if len([line for line in found.err.splitlines() if line.startswith("Error:")]) > 1:
        wrong.append(f"several lines about one error: {found.err!r}")
    return wrong


def _plain(case: Case, text: str) -> str:
    """What is the same each time: no numbers, no widths of columns, no ages."""
    if case.until is not None:
        return ""
    text = re.sub(r"[0-9a-f]{16}|\d+(?:\.\d+)?", "#", text)
    return " ".join(text.split())


async def _until_stopped(scene: Scene, main: Callable[[Stop], Coroutine[Any, Any, None]]) -> None:
    """As the commands' own, but ended by the scene instead of a signal."""
    stop, loop = Stop(), asyncio.get_running_loop()
    scene.stop = lambda: loop.call_soon_threadsafe(partial(stop.ask, again=False))
    try:
        async with asyncio.timeout(ENDS_WITHIN_S):
            await main(stop)
    finally:
        scene.stop = None


@contextmanager
def _environment(prefix: str, url: str) -> Iterator[None]:
    settings = {
        "DEPTHCAST_REDIS_URL": url,
        "DEPTHCAST_PREFIX": prefix,
        "DEPTHCAST_REDIS_USERNAME": "default",
        "DEPTHCAST_REDIS_PASSWORD": SECRET,
    }
    with patch.dict(os.environ, without_settings() | settings, clear=True):
        yield


@contextmanager
def _logs() -> Iterator[None]:
    """Leave the root logger as it was: a command makes it write to a stream that is closed afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@asynccontextmanager
async def _scene(folder: Path, *, cluster: bool) -> AsyncIterator[Scene]:
    """A deployment with books, rejects and a revoked token, and one that is stopped."""
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(FaultProxy(""))
        options = cluster_options(link.port) if cluster else {}
        server = stack.enter_context(EmbeddedServer(options=options))
        link.target = server.url
        client = await stack.enter_async_context(patient(server.url))
        kind, environment, url, own = Run, REAL_ENVIRONMENT, link.url, server.url
        if cluster:
            await form_cluster(client)
            url, own = f"redis+cluster://{HOST}:{link.port}", f"redis+cluster://{HOST}:{server.port}"
            kind, environment = ClusterRun, beside(server)
        file = folder / "feed.jsonl"
        file.write_text(FEED, encoding="utf-8")
        records = folder / "records"
        records.mkdir()
        scene = Scene(kind(client, PREFIX, own, folder), link, url, records, file)
        if not cluster:
            await _still(Run(client, STILL, own, folder))
        settings = scene.run.settings("[LEV]\n", snapshot_interval_ms=50, lease_ms=2000)
        await stack.enter_async_context(scene.run.service(settings, environment))
        await scene.run.send(("LEV", '[["update","bid",5,1],["update","ask",9,2]]'), ("LEV", "[[7]]"))
        await scene.run.send(("GONE", '[["clear"]]'))
        await _is_revoked(scene)
        await _is_listed(scene)
        await scene.run.published()
        yield scene


async def _still(run: Run) -> None:
    """A deployment that was led and ended."""
    async with run.service(run.settings("[OLD]\n")):
        await run.send(("OLD", '[["update","bid",5,1]]'))
        await run.published()


FEED: Final = """\
{"symbol": "REP", "tick_size": "0.01"}
{"symbol": "REP", "at_ms": 0, "events": [["clear"], ["update", "bid", 65000, 5]]}
{"symbol": "REP", "at_ms": 1, "events": [["update", "ask", 65010, 5]]}
"""


def replies_of(command: str) -> Sequence[str]:
    """All error replies to a command."""
    return (*REPLIES, QUOTED) if command == "AUTH" else REPLIES


def sweep(only: Collection[str], *, cluster: bool) -> list[str]:
    """Print the table; returns what is wrong."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), cluster=cluster) as stage:
        for case in stage.cases():
            if only and case.name not in only:
                continue
            for command, spared in stage.commands(case):
                found: Counter[str] = Counter()
                for reply in replies_of(command):
                    what, wrong = stage.problems(case, command, reply, spared)
                    found["FAILS" if wrong else what] += 1
                    failures += [f"{case.line}, {command} after {spared}, {reply}: {text}" for text in wrong]
                click.echo(f"| {case.line} | {command} | {spared} | {dict(found)} |")
    return failures


@click.command(help="Answer every command of every command line with every error reply.")
@click.option("--only", multiple=True, help="only this command, such as 'instruments add'")
@click.option("--cluster", is_flag=True, help="in a cluster of one server")
def main(only: Sequence[str], *, cluster: bool) -> None:
    """Run the command; see the module."""
    logging.getLogger().addHandler(logging.NullHandler())
    failures = sweep(only, cluster=cluster)
    for failure in failures:
        click.echo(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
