"""What the audit of packages makes of the database's answers, and of none."""

import sys
from pathlib import Path

import pytest

from tests.packaging import audit

CLEAN = {"name": "orjson", "version": "3.13.0", "vulns": []}
WRONG = {"name": "aiohttp", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1", "3.2"]}]}
OLD = {"name": "click", "version": "1", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
ABSENT = {"name": "redis", "skip_reason": "not found"}


def test_a_vulnerability_fails() -> None:
    status, lines = audit.verdict(audit.read({"dependencies": [CLEAN, WRONG, OLD, WRONG]}))
    assert status == 1
    assert lines == [
        "VULNERABLE aiohttp 3.0: PYSEC-1, fixed in 3.1, 3.2",
        "VULNERABLE click 1: PYSEC-2, fixed in none yet",
        "1 packages have no known vulnerability",
    ]


def test_what_was_not_looked_up_is_said() -> None:
    status, lines = audit.verdict(audit.read({"dependencies": [ABSENT]}))
    assert (status, lines) == (
        0,
        ["SKIPPED 1 packages that were not looked up, the first because: not found"],
    )


@pytest.mark.parametrize(
    ("program", "status", "says"),
    [
        (
            "import sys; sys.exit('ConnectionError: no route')",
            0,
            "SKIPPED the database could not be asked: ConnectionError: no route",
        ),
        ("import time; time.sleep(60)", 0, "SKIPPED the database did not answer within 1 s"),
        ("import sys; sys.exit('a lock is malformed')", 1, "FAILED a lock is malformed"),
    ],
)
def test_no_network_is_a_stated_skip(
    program: str, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "ALL_S", 1 if "time" in program else 60)
    assert audit.ask([sys.executable, "-c", program]) == (status, [says])


def test_every_lock_is_audited() -> None:
    root = Path(audit.__file__).parents[2]
    locks = {
        str(path.relative_to(root)) for folder in (root, root / "tests") for path in folder.rglob("*.lock")
    }
    assert {lock for lock in locks if not lock.startswith(".")} == set(audit.LOCKS)
