"""The running composition, by the commands `docker compose` and `docker`: what runs, and what is done to it.

In which order that is done is no business of this module (`rolling`).
"""

import csv
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from deploy.upgrade.errors import CommandFailed

LABELS: Final = "com.docker.compose"
COMMAND_S: Final = 120.0
"""What any command may take but the build; the longest one waits for the end of a container."""

READINESS: Final = """\
import os, sys, urllib.error, urllib.request
port = os.environ["DEPTHCAST_ADMIN_PORT"]
try:
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
except urllib.error.HTTPError as error:
    answer = error
sys.stdout.write(answer.read().decode())
"""
PROXY_STATS: Final = """\
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen("http://proxy:8404/stats;csv", timeout=2).read().decode())
"""
"""Both run inside a container of ours: nothing outside of the composition reaches these ports."""


@dataclass(frozen=True)
class Container:
    """A container of a service. `image` and `config` are what it was made from."""

    id: str
    name: str
    image: str
    config: str
    running: bool
    healthy: bool
    restarts: int
    status: int
    """Of its process when it ended last."""
    address: str

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> Self:
        """Take what is needed of an answer of `docker inspect`."""
        state, labels = inspected["State"], inspected["Config"]["Labels"]
        networks = inspected["NetworkSettings"]["Networks"].values()
        return cls(
            id=inspected["Id"],
            name=inspected["Name"].removeprefix("/"),
            image=inspected["Image"],
            config=labels[f"{LABELS}.config-hash"],
            running=state["Running"] and not state["Restarting"],
            healthy=state.get("Health", {"Status": "healthy"})["Status"] == "healthy",
            restarts=inspected["RestartCount"],
            status=state["ExitCode"],
            address=next((each["IPAddress"] for each in networks if each["IPAddress"]), ""),
        )


@dataclass(frozen=True)
class Wanted:
    """What the files of the composition say of a service, and the image that its name stands for now."""

    image: str
    config: str
    replicas: int

    def matches(self, container: Container) -> bool:
        """Whether `docker compose up` would leave the container alone."""
        return (container.image, container.config) == (self.image, self.config)


class Composition:
    """The composition of the present folder, or the one that COMPOSE_FILE and COMPOSE_PROJECT_NAME name."""

    def build(self) -> None:
        """Build the images; progress goes to the terminal."""
        self._run("compose", "build", shown=True)

    def wanted(self, service: str) -> Wanted:
        """Return what a container of a service is to be made from."""
        found = json.loads(self._run("compose", "config", "--format", "json"))["services"][service]
        config = self._run("compose", "config", "--hash", service).split()[-1]
        image = self._run("image", "inspect", "--format", "{{.Id}}", found["image"]).strip()
        return Wanted(image, config, found.get("deploy", {}).get("replicas") or found.get("scale", 1))

    def containers(self, service: str) -> list[Container]:
        """Return the containers of a service that run or have ended, oldest number first."""
        ids = self._run("compose", "ps", "--all", "--quiet", "--no-trunc", service).split()
        if not ids:
            return []
        inspected = json.loads(self._run("inspect", *ids))
        services = [each for each in inspected if each["Config"]["Labels"][f"{LABELS}.oneoff"] == "False"]
        services.sort(key=lambda each: int(each["Config"]["Labels"][f"{LABELS}.container-number"]))
        return [Container.of(each) for each in services]

    def container(self, identity: str) -> Container:
        """Return the present state of a container."""
        return Container.of(json.loads(self._run("inspect", identity))[0])

    def start_another(self, service: str) -> Container:
        """Start one more container of a service, from the new image, and leave the others as they are."""
        known = {each.id for each in self.containers(service)}
        alone = ("--detach", "--no-deps", "--no-recreate", "--scale", f"{service}={len(known) + 1}")
        self._run("compose", "up", *alone, service)
        (made,) = (each for each in self.containers(service) if each.id not in known)
        return made

    def readiness(self, container: Container) -> dict[str, Any]:
        """Return the body of `/readyz`; empty if nothing answers yet."""
        try:
            body: dict[str, Any] = json.loads(self._run("exec", container.id, "python", "-c", READINESS))
        except (CommandFailed, ValueError):
            return {}
        return body

    def take_no_clients(self, container: Container) -> None:
        """Let a gateway take no new clients, and keep those that it has; one that does not run has none."""
        try:
            self._run("kill", "--signal", "SIGUSR1", container.id)
        except CommandFailed:
            if self.container(container.id).running:
                raise

    def remove(self, container: Container) -> int:
        """End a container as its grace period allows, and remove it; return its exit status."""
        self._run("stop", container.id)
        status = self.container(container.id).status
        self._run("rm", container.id)
        return status

    def served(self, through: Container) -> set[str]:
        """Return the addresses that the proxy sends new clients to; `through` asks it."""
        return addresses_up(self._run("exec", through.id, "python", "-c", PROXY_STATS))

    def log(self, container: Container, lines: int) -> str:
        """Return the end of what a container printed."""
        return self._run("logs", "--tail", str(lines), container.id, errors=True)

    def url(self) -> str:
        """Return where clients of this machine reach the proxy."""
        return f"http://{self._run('compose', 'port', 'proxy', '8080').strip()}"

    def token(self) -> str:
        """Return a token of the composition's own tool, for all symbols."""
        return self._run("compose", "run", "--rm", "-T", "token").strip()

    def _run(self, *words: str, shown: bool = False, errors: bool = False) -> str:
        """Run a command; returns what it printed, with `errors` also on standard error."""
        command = ["docker", *words]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=None if shown else subprocess.PIPE,
                stderr=None if shown else subprocess.STDOUT if errors else subprocess.PIPE,
                env=os.environ | {"COMPOSE_PROGRESS": "plain"},
                text=True,
                timeout=None if shown else COMMAND_S,
                check=False,
            )
        except FileNotFoundError:
            problem = "there is no command docker on PATH: install Docker with compose"
            raise CommandFailed(command, problem) from None
        except subprocess.TimeoutExpired:
            raise CommandFailed(command, f"no answer within {COMMAND_S:g} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout or "").rstrip()
            raise CommandFailed(command, f"it ended with status {done.returncode}\n{said}".rstrip())
        return done.stdout or ""


def addresses_up(text: str) -> set[str]:
    """Return the addresses, without ports, of all gateways that are up by the proxy's statistics."""
    rows: Sequence[dict[str, str]] = list(csv.DictReader(text.removeprefix("# ").splitlines()))
    return {
        row["addr"].rpartition(":")[0]
        for row in rows
        if row["pxname"] == "gateways" and row["svname"] != "BACKEND" and row["status"].startswith("UP")
    }
