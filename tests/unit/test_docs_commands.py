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
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines() -> list[tuple[str, str]]:
    """(document, command) of each line in a shell block."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(
            r"```(?:sh|bash|console)[^\n]*\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
        ):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(path.name, line.removeprefix("$ ").split(" #")[0].strip()) for line in lines]
    return list(dict.fromkeys(found))


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


GUIDES = [
    ROOT / "docs" / "faq.md",
    ROOT / "docs" / "tutorial.md",
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.stem)
def test_a_guide_names_settings_that_exist(document: Path) -> None:
    contract = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    settings = set(re.findall(r"^\| `(DEPTHCAST_\w+)` \|", contract, re.MULTILINE))
    named = set(re.findall(r"`(DEPTHCAST_\w+[A-Z])", document.read_text(encoding="utf-8")))
    assert named - settings == set()
