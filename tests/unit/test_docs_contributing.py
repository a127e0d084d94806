"""CONTRIBUTING.md is complete: each folder has tests, paths and targets exist, hooks match `make lint`."""

import re
import subprocess
from pathlib import Path

import pytest
from pre_commit.clientlib import load_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAP = dict(
    re.findall(
        r"^\| `([\w/]+)/` \| (.*) \|$", TEXT.split("| you changed | run |")[1].split("\n\n")[0], re.MULTILINE
    )
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def folders() -> set[str]:
    """Every folder of the repository with files of its own, and the layers of the source folders."""
    listed = subprocess.run(
        ["git", "ls-files", "*/*"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("not a checkout")
    top = {path.split("/")[0] for path in listed if not path.startswith(".")}
    layers = {
        "/".join(path.split("/")[:2])
        for path in listed
        if path.count("/") > 1 and path.endswith(".py") and not path.startswith(("tests/", "benchmarks/"))
    }
    return top | layers


def test_every_folder_has_its_tests_and_no_other_is_named() -> None:
    assert MAP.keys() == folders()


@pytest.mark.parametrize("folder", MAP)
def test_the_tests_of_a_folder_exist(folder: str) -> None:
    if folder == "tests":
        return
    (paths,) = re.findall(r"`([^`]*)`", MAP[folder])
    missing = [path for path in paths.split() if not any(ROOT.glob(path))]
    assert missing == []


def test_every_integration_test_is_named_beside_a_folder() -> None:
    named = " ".join(MAP.values())
    integration = (ROOT / "tests" / "integration").glob("test_*.py")
    assert [path.name for path in integration if path.name not in named] == []


def test_every_target_that_is_for_checks_is_named() -> None:
    targets = set(re.findall(r"@echo 'make (\w+)", MAKEFILE)) - {"demo", "clean"}
    assert {target for target in targets if f"make {target}" not in TEXT} == set()


def test_hooks_check_what_lint_checks() -> None:
    hooks = load_config(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert all(hook["language"] in ("system", "unsupported") for hook in hooks), "nothing is downloaded"
    entries = [hook["entry"].removeprefix(".venv/bin/").replace(" --force-exclude", "") for hook in hooks]
    recipe = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    assert entries == [
        command.removesuffix(" .") for command in re.findall(r"\$\(BIN\)/(.*)$", recipe, re.MULTILINE)
    ]
