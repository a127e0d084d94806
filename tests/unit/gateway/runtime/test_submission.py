"""Sends by io_uring and by send(): no byte is lost, repeated or out of order, whatever fails.

An injected `enter` takes the place of the system call io_uring_enter: it makes the real one, or fails.
"""

import ctypes
import errno
import logging
import mmap
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from depthcast.gateway.delivery.fan_out import Batch, DirectBatch
from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.runtime import submission
from depthcast.gateway.runtime.submission import DirectSend, Submission, direct_send, proves_right

in_c = submission.in_c

Enter = Callable[[int, int, int], int]

ENTER = 426
GET_EVENTS = 1


def ring_is_allowed() -> bool:
    try:
        in_c.Batch(ring=True)
    except (OSError, AttributeError):
        return False
    return True


needs_c = pytest.mark.skipif(in_c is None, reason="the C part is not compiled here")
needs_ring = pytest.mark.skipif(not ring_is_allowed(), reason="io_uring is not allowed here")

_LIBC = ctypes.CDLL(None, use_errno=True)


def enter_really(fd: int, submit: int, wait: int) -> int:
    """The system call itself: its result, or the negative errno."""
    found = int(_LIBC.syscall(ENTER, fd, submit, wait, GET_EVENTS, None, 0))
    return found if found >= 0 else -ctypes.get_errno()


class Client:
    """A client's socket pair. `write_on` does what a transport does with the rest of a short send."""

    def __init__(self, stack: ExitStack, room_bytes: int = 1) -> None:
        self.ours, self.theirs = socket.socketpair()
        stack.callback(self.theirs.close)
        stack.callback(self.ours.close)
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room_bytes)
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.direct: DirectSend = direct_send(self.ours)
        stack.callback(self.direct.close)
        self.expected = bytearray()
        self.got = bytearray()
        self.waiting = b""

    def write_on(self) -> None:
        while self.waiting:
            try:
                self.waiting = self.waiting[self.ours.send(self.waiting) :]
            except BlockingIOError:
                return

    def read(self, most: int) -> None:
        with suppress(BlockingIOError):
            self.got += self.theirs.recv(most)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


def run_storm(batch: Batch, stack: ExitStack, seed: int, rounds: int = 60, clients: int = 90) -> None:
    """Flushes of cohorts to clients that read little or much; in the end, all have exactly their bytes."""
    chance = random.Random(seed)
    everyone = [Client(stack, chance.choice((1, 1, 40_000))) for _ in range(clients)]
    for number in range(rounds):
        ready = [client for client in everyone if not client.waiting]
        for cohort in range(chance.randint(1, 4)):
            members: dict[Any, Send] = {client: client.direct for client in ready if chance.random() < 0.7}
            parts = [
                b"%d/%d;" % (number, cohort) * chance.randint(1, 700) for _ in range(chance.randint(1, 3))
            ]
            data = b"".join(parts)
            assert batch.add(cohort, members, parts) == len(data)
            for client in members:
                client.expected += data
        for _, client, data, sent in batch.finish():
            assert 0 <= sent < len(data)
            client.waiting += data[sent:]
        for client in everyone:
            client.read(chance.choice((0, 100, 5000, 1 << 20)))
            client.write_on()
    for client in everyone:
        while len(client.got) < len(client.expected):
            client.read(1 << 20)
            client.write_on()
        assert client.got == client.expected


def failing_at(call: int, problem: int, *, first_some: bool) -> Enter:
    """An enter that fails from that call on; `first_some`: after the kernel took a part of it."""
    calls = 0

    def enter(fd: int, submit: int, wait: int) -> int:
        nonlocal calls
        calls += 1
        if calls < call:
            return enter_really(fd, submit, wait)
        if calls == call and first_some:
            enter_really(fd, submit // 2, submit // 2)
        return -problem

    return enter


def in_pieces(fd: int, submit: int, wait: int) -> int:
    """Takes a third of what is submitted at a time."""
    some = max(1, submit // 3) if submit else 0
    return enter_really(fd, some, min(wait, some) if submit else wait)


def test_python_loses_nothing(stack: ExitStack) -> None:
    run_storm(DirectBatch(), stack, 1)


@needs_c
def test_send_in_c_loses_nothing(stack: ExitStack) -> None:
    batch = in_c.Batch()
    run_storm(batch, stack, 2)
    assert batch.method == "send"


@needs_ring
@pytest.mark.parametrize("seed", range(3))
def test_io_uring_loses_nothing(stack: ExitStack, seed: int) -> None:
    batch = in_c.Batch(ring=True)
    run_storm(batch, stack, seed)
    assert (batch.method, batch.failure) == ("io_uring", 0)
    assert batch.submissions < batch.sends / 4, "many sends go in one submission"


@needs_ring
@pytest.mark.parametrize("first_some", [False, True])
@pytest.mark.parametrize("problem", ["EPERM", "EAGAIN", "EBUSY", "ENOMEM", "EBADF"])
def test_a_ring_that_fails_amid_a_flush_loses_nothing(
    stack: ExitStack, problem: str, *, first_some: bool
) -> None:
    number = getattr(errno, problem)
    batch = in_c.Batch(ring=True, enter=failing_at(20, number, first_some=first_some))
    run_storm(batch, stack, number, rounds=40)
    assert (batch.method, batch.failure) == ("send", number)


@needs_ring
def test_a_kernel_that_takes_a_part_at_a_time_gets_the_rest_later(stack: ExitStack) -> None:
    batch = in_c.Batch(ring=True, enter=in_pieces)
    run_storm(batch, stack, 5)
    assert (batch.method, batch.failure) == ("io_uring", 0)


@needs_ring
@pytest.mark.parametrize("before", [False, True])
def test_an_interrupted_call_is_made_again(stack: ExitStack, *, before: bool) -> None:
    chance = random.Random(6)

    def enter(fd: int, submit: int, wait: int) -> int:
        if chance.random() > 0.5:
            return enter_really(fd, submit, wait)
        if not before:
            enter_really(fd, submit, wait)
        return -errno.EINTR

    batch = in_c.Batch(ring=True, enter=enter)
    run_storm(batch, stack, 6)
    assert batch.failure == 0


@needs_ring
def test_a_client_gets_nothing_more_if_nobody_knows_what_it_got(stack: ExitStack) -> None:
    """The kernel took the send and does not say what became of it, so the connection is ended."""

    def enter(fd: int, submit: int, wait: int) -> int:
        if not submit:
            return -errno.EIO  # a completion that is taken away here is waited for in vain
        enter_really(fd, submit, wait)
        with mmap.mmap(fd, mmap.PAGESIZE) as ring:  # heads and tails of both queues come first
            ring[8:12] = ring[12:16]
        return -errno.EIO

    batch = in_c.Batch(ring=True, enter=enter)
    client, other = Client(stack, 40_000), Client(stack, 40_000)
    batch.add(None, {client: client.direct}, [b"frame"])
    assert batch.finish() == []
    assert (batch.method, batch.failure) == ("send", errno.EIO)
    client.read(100)
    assert client.got == b"frame"
    assert client.theirs.recv(100) == b"", "the end"
    batch.add(None, {client: client.direct, other: other.direct}, [b"next"])
    assert [key for _, key, _, _ in batch.finish()] == [client]
    other.read(100)
    assert other.got == b"next"


@needs_ring
def test_a_closed_connection_keeps_nobody_from_anything(stack: ExitStack) -> None:
    batch = in_c.Batch(ring=True)
    clients = [Client(stack, 40_000) for _ in range(5)]
    clients[1].theirs.close()
    clients[2].direct.close()
    clients[3].ours.shutdown(socket.SHUT_RDWR)
    batch.add("A", {client: client.direct for client in clients}, [b"frame"])
    assert [(key, sent) for _, key, _, sent in batch.finish()] == [(client, 0) for client in clients[1:4]]
    for client in (clients[0], clients[4]):
        client.read(100)
        assert client.got == b"frame"


@needs_c
def test_a_descriptor_that_is_closed_while_it_waits_is_not_written_to(stack: ExitStack) -> None:
    """Its number may belong to another connection by then."""
    batch, client = in_c.Batch(), Client(stack)
    batch.add(None, {client: client.direct}, [b"frame"])
    client.direct.close()
    assert [sent for *_, sent in batch.finish()] == [0]


@needs_c
def test_one_that_is_sent_to_twice_gets_both_in_order(stack: ExitStack) -> None:
    for ring in (False, *([True] if ring_is_allowed() else [])):
        batch, client = in_c.Batch(ring=ring), Client(stack, 40_000)
        for part in (b"one", b"two", b"three"):
            batch.add(None, {client: client.direct}, [part])
        assert batch.finish() == []
        client.read(100)
        assert client.got == b"onetwothree"


@needs_c
@pytest.mark.parametrize(
    "arguments", [(), (1, 2, 3), (1, {}, [b""], 4), (1, {}, ["text"]), (1, [], [b"x"]), (1, {}, (b"x",))]
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        in_c.Batch().add(*arguments)


@needs_c
def test_nothing_is_kept_of_what_was_sent(stack: ExitStack) -> None:
    rings = (False, True) if ring_is_allowed() else (False,)
    client = Client(stack, 1 << 20)
    for ring in rings:
        batch, data, key = in_c.Batch(ring=ring), b"frame" * 9, object()
        before = [sys.getrefcount(each) for each in (data, key, client.direct)]
        for _ in range(200):
            batch.add(key, {key: client.direct}, [data])
        batch.finish()
        assert [sys.getrefcount(each) for each in (data, key, client.direct)] == before
        client.read(1 << 20)


@needs_ring
def test_a_batch_leaves_no_descriptor_open() -> None:
    count = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number matters
    for _ in range(10):
        assert proves_right(in_c.Batch(ring=True))
    assert len(os.listdir("/proc/self/fd")) == count  # noqa: PTH208


# --- the choice -------------------------------------------------------------------------------------------

REFUSING = """
import ctypes, logging, struct, sys
def refuse(number, problem):
    # Load the number of the call; if it is this one, return the error, else allow it (seccomp(2)).
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | problem), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
from depthcast.gateway.runtime.submission import Submission, proves_right
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s %(problem)s", stream=sys.stdout)
"""


def run_refusing(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", REFUSING + script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_ring
@pytest.mark.parametrize(("submit", "level"), [("auto", "INFO"), ("io_uring", "WARNING")])
def test_where_the_kernel_forbids_it_send_takes_its_place(submit: str, level: str) -> None:
    said = run_refusing(f"""
refuse(425, 1)
made = Submission({submit!r})
assert made.batch.method == "send" and not made.by_ring
assert proves_right(made.batch)
""")
    assert said.startswith(f"{level} io_uring cannot be used; clients are sent to by send()")
    assert "Operation not permitted" in said


@needs_ring
def test_when_the_kernel_forbids_it_later_send_takes_its_place() -> None:
    said = run_refusing("""
logging.disable(logging.INFO)
made = Submission("io_uring")
assert made.by_ring and made.batch.method == "io_uring"
refuse(426, 1)
assert proves_right(made.batch), "the flush amid which it was forbidden is whole"
for _ in range(2):
    made.check()
assert made.batch.method == "send" and not made.by_ring and made.failures == 1
""")
    assert (
        said == "WARNING io_uring failed; clients are sent to by send() from now on Operation not permitted\n"
    )


@needs_ring
def test_what_was_chosen_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Submission("auto").by_ring
    assert [record.message for record in caplog.records] == ["clients are sent to by io_uring"]
    assert not Submission("send").by_ring


def test_without_the_c_part_python_sends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(submission, "in_c", None)
    caplog.set_level(logging.INFO)
    made = Submission("io_uring")
    assert isinstance(made.batch, DirectBatch)
    assert proves_right(made.batch)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not compiled" in caplog.records[0].__dict__["problem"]


class Forgetful(DirectBatch):
    """Says that it sent more than it did."""

    def finish(self) -> list[Any]:
        return [(owner, key, data, sent + 1) for owner, key, data, sent in super().finish()]


def test_a_batch_that_says_something_wrong_is_not_used() -> None:
    assert proves_right(DirectBatch())
    assert not proves_right(Forgetful())
