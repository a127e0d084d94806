"""Every `depthcast` and `make` command in the documents exists, with the options it is shown with."""

import re
import shlex
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import click
import pytest

from depthcast.cli.main import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def shell_lines() -> list[tuple[str, str]]:
    """(document, command) of each line in a shell block."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(
            r"```(?:sh|bash|console)[^\n]*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
        ):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(path.name, line.removeprefix("$ ").split(" #")[0].strip()) for line in lines]
    return found


COMMANDS = [line for line in shell_lines() if line[1].startswith("depthcast ")]
MODULES = [line for line in shell_lines() if line[1].startswith("python -m ")]
TARGETS = [line for line in shell_lines() if line[1].startswith("make ")]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 6
    assert len(TARGETS) >= 4
    assert MODULES


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_a_command_exists_with_its_options(document: str, line: str) -> None:
    words = list(takewhile(lambda word: word != "|", shlex.split(line)[1:]))
    command: click.Command = main
    context = click.Context(main)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None, f"{document}: {line}"
        command = found
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("-")}
    assert used <= options, f"{document}: {line}"


@pytest.mark.parametrize(("document", "line"), MODULES)
def test_a_module_that_is_run_exists(document: str, line: str) -> None:
    assert find_spec(shlex.split(line)[2]) is not None, f"{document}: {line}"


@pytest.mark.parametrize(("document", "line"), TARGETS)
def test_a_target_exists(document: str, line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = shlex.split(line)[1]
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{document}: {line}"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text()))))
def test_what_the_readme_links_to_exists(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()
