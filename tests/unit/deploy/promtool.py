"""Runs promtool, of the package `prometheus` of Debian, where it is installed."""

import shutil
import subprocess

import pytest

PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus")


def promtool(*words: str, said: str = "") -> str:
    """Run it with `said` as its input; returns what it printed, and fails if it is not content."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *words], input=said, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
