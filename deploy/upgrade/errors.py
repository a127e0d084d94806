"""Why an upgrade stops, in words for whoever has to go on from there."""

import shlex
from collections.abc import Sequence


class UpgradeError(Exception):
    """The upgrade cannot go on; nothing is undone."""


class NothingRuns(UpgradeError):
    """There is nothing to upgrade."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"no container of the service {service} is there: this replaces those of a running composition; "
            "start it by `docker compose up --build --wait`"
        )
        self.service = service


class CommandFailed(UpgradeError):
    """A command of the engine failed, or there is none."""

    def __init__(self, command: Sequence[str], problem: str) -> None:
        super().__init__(f"{shlex.join(command[:6])}: {problem}")
        self.command = command
        self.problem = problem


class NotServing(UpgradeError):
    """A new container did not come up, so no further one was replaced."""

    def __init__(self, name: str, problem: str, log: str, left: str) -> None:
        shown = "".join(f"    {line}\n" for line in log.splitlines()) or "    (nothing)\n"
        super().__init__(
            f"{name} {problem}. The end of its log:\n{shown}{left}\n"
            "What to do: mend what the log says, or check the earlier version out. Then `make upgrade` goes\n"
            "on from here, and replaces whatever differs from the files, also what it has started now."
        )
        self.name = name
        self.problem = problem
