"""The order of a rolling upgrade, and what it says when it stops, with an engine that is made up."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.upgrade import __main__ as command
from deploy.upgrade.composition import Container, Wanted, addresses_up
from deploy.upgrade.errors import NothingRuns, NotServing
from deploy.upgrade.rolling import LOOK_S, Upgrade

OLD, NEW = "sha256:old", "sha256:new"
REPLICAS = {"gateway": 3, "ingestor": 2}
TIMEOUT_S = 10.0


@dataclass
class Engine:
    """Containers that come up after some looks; `steps`: what was done to them.

    `fault`: what is wrong with a container that is started, by its name: `mute` never gets ready, `exits`
    ends at once, `restarts` too, `unseen` is not found by the proxy.
    """

    present: dict[str, list[Container]]
    image: str = NEW
    fault: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    draining: set[str] = field(default_factory=set)
    now: float = 0.0
    _looks: dict[str, int] = field(default_factory=dict)
    _number: int = 0

    @classmethod
    def running(cls, image: str = OLD) -> "Engine":
        engine = cls({service: [] for service in REPLICAS})
        for service, replicas in REPLICAS.items():
            for _ in range(replicas):
                engine._add(service, image)
        engine.image = NEW
        return engine

    def _add(self, service: str, image: str) -> Container:
        numbers = [int(each.name.rpartition("-")[2]) for each in self.present[service]]
        name = f"{service}-{max(numbers, default=0) + 1}"
        self._number += 1
        made = Container(f"id-{name}", name, image, "config", True, True, 0, 0, f"10.0.0.{self._number}")
        self.present[service].append(made)
        return made

    def _named(self, identity: str) -> Container:
        return next(each for some in self.present.values() for each in some if each.id == identity)

    def wanted(self, service: str) -> Wanted:
        return Wanted(self.image, "config", REPLICAS[service])

    def containers(self, service: str) -> list[Container]:
        return list(self.present[service])

    def container(self, identity: str) -> Container:
        found = self._named(identity)
        self._looks[identity] = self._looks.get(identity, 0) + 1
        if self.fault.get(found.name) == "exits":
            return replace(found, running=False, status=2)
        if self.fault.get(found.name) == "restarts":
            return replace(found, restarts=1)
        return replace(found, healthy=self.fault.get(found.name) != "mute" and self._looks[identity] > 2)

    def start_another(self, service: str) -> Container:
        made = self._add(service, self.image)
        self.steps.append(f"start {made.name}")
        return made

    def readiness(self, container: Container) -> dict[str, Any]:
        ready = self._looks.get(container.id, 0) > 3 and container.name not in self.draining
        return {"ready": ready, "draining": container.name in self.draining}

    def take_no_clients(self, container: Container) -> None:
        self.steps.append(f"retire {container.name}")
        self.draining.add(container.name)

    def remove(self, container: Container) -> int:
        self.steps.append(f"remove {container.name}")
        for some in self.present.values():
            if container in some:
                some.remove(container)
        return 0

    def served(self, through: Container) -> set[str]:
        assert self._named(through.id)
        serving = (
            each
            for each in self.present["gateway"]
            if each.name not in self.draining and self.fault.get(each.name) not in {"unseen", "mute", "exits"}
        )
        return {each.address for each in serving}

    def log(self, container: Container, lines: int) -> str:
        return f"what {container.name} says\n"

    def sleep(self, seconds: float) -> None:
        assert seconds == LOOK_S
        self.now += seconds


def upgrade(engine: Engine, *, everything: bool = False) -> list[str]:
    said: list[str] = []
    Upgrade(engine, said.append, TIMEOUT_S, everything, lambda: engine.now, engine.sleep).run()
    return said


def names(engine: Engine, service: str) -> list[str]:
    return [each.name for each in engine.present[service]]


ALL_STEPS = [
    "start gateway-4",
    "retire gateway-1", "retire gateway-2", "retire gateway-3",
    "remove gateway-1", "start gateway-5",
    "remove gateway-2", "start gateway-6",
    "remove gateway-3",
    "start ingestor-3", "remove ingestor-1",
    "start ingestor-4", "remove ingestor-2",
]  # fmt: skip


def test_gateways_go_first_and_each_waits_for_the_one_before() -> None:
    engine = Engine.running()
    said = upgrade(engine)
    assert engine.steps == ALL_STEPS
    assert names(engine, "gateway") == ["gateway-4", "gateway-5", "gateway-6"]
    assert names(engine, "ingestor") == ["ingestor-3", "ingestor-4"]
    assert said[:2] == ["gateway-4 serves", "gateway-1, gateway-2, gateway-3: no new clients"]


def test_what_is_up_to_date_stays_unless_it_is_asked_for() -> None:
    engine = Engine.running(NEW)
    assert upgrade(engine) == ["gateway: 3 run, all up to date", "ingestor: 2 run, all up to date"]
    assert engine.steps == []
    upgrade(engine, everything=True)
    assert engine.steps == ALL_STEPS


def test_containers_beyond_the_files_go_and_missing_ones_come() -> None:
    engine = Engine.running()
    engine._add("gateway", OLD)
    del engine.present["ingestor"][0]
    upgrade(engine)
    assert len(engine.present["gateway"]) == 3
    assert len(engine.present["ingestor"]) == 2
    assert {each.image for some in engine.present.values() for each in some} == {NEW}


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("mute", "does not serve after 10 s"),
        ("unseen", "does not serve after 10 s"),
        ("exits", "ended with status 2"),
        ("restarts", "ended, and was started again"),
    ],
)
def test_nothing_is_touched_until_the_first_new_one_serves(fault: str, problem: str) -> None:
    engine = Engine.running()
    engine.fault["gateway-4"] = fault
    with pytest.raises(NotServing, match=f"gateway-4 {problem}") as stopped:
        upgrade(engine)
    assert engine.steps == ["start gateway-4"]
    text = str(stopped.value)
    assert "what gateway-4 says" in text
    assert (
        "old containers (gateway-1, gateway-2, gateway-3) go on as before; new ones that serve: none" in text
    )
    assert (engine.now > TIMEOUT_S) == (fault in {"mute", "unseen"}), "what has ended needs no patience"


def test_it_stops_when_a_later_one_does_not_serve_and_goes_on_from_there() -> None:
    engine = Engine.running()
    engine.fault["gateway-5"] = "mute"
    with pytest.raises(NotServing) as stopped:
        upgrade(engine)
    assert engine.steps == [*ALL_STEPS[:5], "start gateway-5"]
    assert (
        "(gateway-2, gateway-3) keep their clients and take no new ones; new ones that serve: gateway-4."
        in str(stopped.value)
    )
    # The mended version is another image: what was started before differs, too.
    engine.steps.clear()
    engine.image = "sha256:mended"
    upgrade(engine)
    assert [each.image for each in engine.present["gateway"]] == [engine.image] * 3
    assert len(names(engine, "ingestor")) == 2


def test_back_to_the_earlier_version_replaces_those_that_take_no_clients() -> None:
    """They are of the right image, but nothing makes them take clients again."""
    engine = Engine.running()
    engine.fault["gateway-5"] = "exits"
    with pytest.raises(NotServing):
        upgrade(engine)
    engine.image = OLD
    upgrade(engine)
    assert [each.image for each in engine.present["gateway"]] == [OLD] * 3
    assert not {"gateway-2", "gateway-3", "gateway-4", "gateway-5"} & set(names(engine, "gateway"))
    assert names(engine, "ingestor") == ["ingestor-1", "ingestor-2"]


def test_an_ingestor_that_does_not_serve_stops_it_before_one_has_gone() -> None:
    engine = Engine.running()
    engine.fault["ingestor-3"] = "mute"
    with pytest.raises(NotServing, match=r"old containers \(ingestor-1, ingestor-2\) go on as before"):
        upgrade(engine)
    assert engine.steps == ALL_STEPS[:10]


def test_it_replaces_and_does_not_start() -> None:
    engine = Engine.running()
    engine.present["ingestor"].clear()
    with pytest.raises(NothingRuns, match="docker compose up --build --wait"):
        upgrade(engine)
    assert engine.steps == []


def test_the_proxy_says_which_addresses_are_up() -> None:
    text = (
        "# pxname,svname,status,addr,\n"
        "gateways,gateway-1,UP,10.0.0.7:8080,\n"
        "gateways,gateway-2,DOWN,10.0.0.8:8080,\n"
        "gateways,gateway-3,UP 1/2,10.0.0.9:8080,\n"
        "gateways,gateway-4,MAINT (resolution),,\n"
        "gateways,BACKEND,UP,,\n"
        "clients,FRONTEND,OPEN,,\n"
    )
    assert addresses_up(text) == {"10.0.0.7", "10.0.0.9"}


def test_a_container_is_what_the_engine_says() -> None:
    labels = {"com.docker.compose.config-hash": "c"}
    state = {"Running": True, "Restarting": True, "ExitCode": 2, "Health": {"Status": "starting"}}
    inspected = {
        "Id": "1", "Name": "/x-gateway-1", "Image": NEW, "State": state, "RestartCount": 3,
        "Config": {"Labels": labels},
        "NetworkSettings": {"Networks": {"a": {"IPAddress": ""}, "b": {"IPAddress": "10.0.0.7"}}},
    }  # fmt: skip
    assert Container.of(inspected) == Container("1", "x-gateway-1", NEW, "c", False, False, 3, 2, "10.0.0.7")


def test_the_command_fails_with_status_1_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.running()
    engine.fault["gateway-4"] = "exits"
    monkeypatch.setattr(command, "Composition", lambda: engine)
    done = CliRunner().invoke(command.main, ["--no-build"])
    assert done.exit_code == 1
    assert done.stderr.startswith("the upgrade stopped: gateway-4 ended with status 2.")
    assert "What to do: " in done.stderr


def test_without_an_engine_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    done = CliRunner().invoke(command.main, [])
    assert done.exit_code == 1
    assert done.stderr == (
        "the upgrade stopped: docker compose build: "
        "there is no command docker on PATH: install Docker with compose\n"
    )
