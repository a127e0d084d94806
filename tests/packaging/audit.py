"""Looks every locked package up in the database of known vulnerabilities; `make audit`.

Exit status 1 if one has a vulnerability. If the database cannot be reached, or does not know a package, this
is said and is no failure: a check without a network must not stop the others.

Only the standard library is used, because this runs in an environment that has pip-audit alone.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

LOCKS = (
    "requirements.lock", "requirements-run.lock", "requirements-docs.lock", "tests/servers.lock",
    "tests/fuzz/atheris.lock", "tests/packaging/audit.lock", "deploy/sbom.lock",
)  # fmt: skip
ANSWER_S = 20
ALL_S = 120
COMMAND = (
    sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off",
    "--format", "json", "--timeout", str(ANSWER_S),
)  # fmt: skip
AWAY = ("ConnectionError", "Max retries", "timed out", "Could not connect", "ServiceError")
"""What the last line says if there is no network. Any other end without a report is a failure."""


class Findings(NamedTuple):
    """What the database says: lines on vulnerabilities, clean packages, and why others are not known."""

    vulnerable: list[str]
    clean: list[str]
    unknown: dict[str, str]


def read(report: Any) -> Findings:
    """Read a report of pip-audit in its JSON format."""
    vulnerable, clean, unknown = [], [], {}
    for package in report["dependencies"]:
        name = package["name"]
        if "skip_reason" in package:
            unknown[name] = package["skip_reason"]
        elif package["vulns"]:
            for found in package["vulns"]:
                fixed = ", ".join(found["fix_versions"]) or "none yet"
                vulnerable.append(f"{name} {package['version']}: {found['id']}, fixed in {fixed}")
        else:
            clean.append(name)
    return Findings(sorted(set(vulnerable)), sorted(set(clean)), unknown)


def verdict(findings: Findings) -> tuple[int, list[str]]:
    """Return the exit status, and what to print."""
    lines = [f"VULNERABLE {line}" for line in findings.vulnerable]
    if findings.clean:
        lines.append(f"{len(findings.clean)} packages have no known vulnerability")
    if findings.unknown:
        count, reason = len(findings.unknown), next(iter(findings.unknown.values()))
        lines.append(f"SKIPPED {count} packages that were not looked up, the first because: {reason}")
    return int(bool(findings.vulnerable)), lines


def ask(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run pip-audit and judge its report; without a network, say why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ALL_S)
    except subprocess.TimeoutExpired:
        return 0, [f"SKIPPED the database did not answer within {ALL_S} s"]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]
        if any(word in last for word in AWAY):
            return 0, [f"SKIPPED the database could not be asked: {last}"]
        return 1, [f"FAILED {last}"]
    return verdict(read(report))


def main() -> int:
    """Audit all locks."""
    root = Path(__file__).parents[2]
    failed = 0
    for lock in LOCKS:
        status, lines = ask([*COMMAND, "--requirement", str(root / lock)])
        failed = max(failed, status)
        sys.stdout.write("".join(f"audit of {lock}: {line}\n" for line in lines))
    return failed


if __name__ == "__main__":
    sys.exit(main())
