"""The order of a rolling upgrade: one container more first, then the old ones go, one after the other.

Old gateways take no new clients from the moment the first new one serves, so nobody is sent to one that will
go, and a client is closed once. The next one goes only when what takes its place serves.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from deploy.upgrade.composition import Container, Wanted
from deploy.upgrade.errors import NothingRuns, NotServing

GATEWAY: Final = "gateway"
INGESTOR: Final = "ingestor"
ORDER: Final = (GATEWAY, INGESTOR)
"""Readers first: they should know all that ingestors write."""
LOOK_S: Final = 0.5
LOG_LINES: Final = 8

Say = Callable[[str], None]


class Containers(Protocol):
    """What an upgrade needs of the engine; `Composition` has it."""

    def wanted(self, service: str) -> Wanted: ...
    def containers(self, service: str) -> list[Container]: ...
    def container(self, identity: str) -> Container: ...
    def start_another(self, service: str) -> Container: ...
    def readiness(self, container: Container) -> dict[str, Any]: ...
    def take_no_clients(self, container: Container) -> None: ...
    def remove(self, container: Container) -> int: ...
    def served(self, through: Container) -> set[str]: ...
    def log(self, container: Container, lines: int) -> str: ...


@dataclass
class Upgrade:
    """An upgrade of all services. `timeout_s`: until when a new container must serve.

    `everything`: also replace what is up to date. `clock` and `sleep` are those of `time`.
    """

    engine: Containers
    say: Say
    timeout_s: float
    everything: bool = False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Replace what differs from the files of the composition.

        Raises:
            UpgradeError: It stopped; what runs by then goes on running.
        """
        for service in ORDER:
            if not self.engine.containers(service):
                raise NothingRuns(service)
        for service in ORDER:
            _Service(self, service).replace()


@dataclass
class _Service:
    upgrade: Upgrade
    name: str

    def __post_init__(self) -> None:
        self.engine, self.say = self.upgrade.engine, self.upgrade.say
        self.wanted = self.engine.wanted(self.name)
        present = self.engine.containers(self.name)
        self.old = [each for each in present if self._is_old(each)]
        self.new = [each for each in present if each not in self.old]
        self.retired = False

    def _is_old(self, container: Container) -> bool:
        """Whether it must go: it differs from the files, or nothing makes it take clients again."""
        if self.upgrade.everything or not self.wanted.matches(container):
            return True
        return container.running and bool(self.engine.readiness(container).get("draining"))

    def replace(self) -> None:
        for each in self.new:
            self._wait(each)
        if not self.old:
            self.say(f"{self.name}: {len(self.new)} run, all up to date")
        for each in list(self.old):
            self._make_room()
            if not self.retired:
                self._retire()
            status = self.engine.remove(each)
            self.old.remove(each)
            self.say(f"{each.name} ended" if status == 0 else f"{each.name} ended with status {status}")
        while len(self.new) < self.wanted.replicas:
            self._start()

    def _make_room(self) -> None:
        """Have one container more than wanted, so that there are enough when the next one goes."""
        while not self.new or (
            len(self.new) < self.wanted.replicas and len(self.new) + len(self.old) <= self.wanted.replicas
        ):
            self._start()

    def _start(self) -> None:
        started = self.engine.start_another(self.name)
        self._wait(started)
        self.new.append(started)
        self.say(f"{started.name} serves")

    def _retire(self) -> None:
        """Let all old gateways take no new clients, and wait until the proxy sends them none."""
        self.retired = True
        if self.name != GATEWAY:
            return
        for each in self.old:
            self.engine.take_no_clients(each)
        waiting = {each.address for each in self.old if each.address}
        through, last = self.new[0], self.old[-1]
        self._until(lambda: not waiting & self.engine.served(through), last, "is still sent new clients")
        self.say(f"{', '.join(each.name for each in self.old)}: no new clients")

    def _wait(self, container: Container) -> None:
        """Wait until a new container serves."""
        self._until(partial(self._serves, container), container, "does not serve")

    def _serves(self, container: Container) -> bool:
        found = self.engine.container(container.id)
        if not found.running:
            raise self._stopped(found, f"ended with status {found.status}")
        if found.restarts > container.restarts:
            raise self._stopped(found, "ended, and was started again by the engine")
        if not (found.healthy and self.engine.readiness(found).get("ready")):
            return False
        return self.name != GATEWAY or found.address in self.engine.served(found)

    def _until(self, condition: Callable[[], bool], container: Container, problem: str) -> None:
        deadline = self.upgrade.clock() + self.upgrade.timeout_s
        while not condition():
            if self.upgrade.clock() > deadline:
                raise self._stopped(container, f"{problem} after {self.upgrade.timeout_s:g} s")
            self.upgrade.sleep(LOOK_S)

    def _stopped(self, container: Container, problem: str) -> NotServing:
        others = [[each.name for each in some if each.id != container.id] for some in (self.old, self.new)]
        old, new = (", ".join(names) or "none" for names in others)
        refuse = self.retired and self.name == GATEWAY
        do = "keep their clients and take no new ones" if refuse else "go on as before"
        left = f"Of the service {self.name}, old containers ({old}) {do}; new ones that serve: {new}."
        return NotServing(container.name, problem, self.engine.log(container, LOG_LINES), left)
