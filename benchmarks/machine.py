"""The measuring machine: facts for the record, and the cost of processes by the kernel's account. Linux."""

import os
import platform
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = (
    "depthcast",
    "aiohttp",
    "uvloop",
    "orjson",
    "msgpack",
    "redis",
    "hiredis",
    "sortedcontainers",
)

CORES: Final = frozenset(os.sched_getaffinity(0))
"""The cores that there are, whatever this process is pinned to later."""


def server_core() -> int:
    """The core that the measured process has for itself."""
    return min(CORES)


def load_cores() -> frozenset[int]:
    """The cores of everything else: load, Redis, this process. The same core if there is no other."""
    return CORES - {server_core()} or CORES


def pin(pid: int, cores: Collection[int]) -> None:
    """Keep a process, with all its threads, on these cores."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def with_children(pid: int) -> list[int]:
    """A process and those that it has started, and so on."""
    found = [pid]
    for known in found:
        for task in Path(f"/proc/{known}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, all threads, user and system, by the scheduler's account in ns."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def softirq_seconds(core: int) -> float:
    """Return the CPU time of a core's softirq thread, which does what senders leave to it; 0 if hidden."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            if process.name.isdigit() and (process / "comm").read_text() == f"ksoftirqd/{core}\n":
                return cpu_seconds(int(process.name))
    return 0.0


def memory_bytes(pid: int) -> int:
    """Resident memory that belongs to a process alone, in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss of process {pid}")


def busy_share(seconds: float = 1.0) -> float:
    """Return which share of all cores is busy in these seconds: with other work, if ours waits here."""
    before = _ticks()
    time.sleep(seconds)
    spent = [after - first for first, after in zip(before, _ticks(), strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)  # idle, and waiting for a disk


def _ticks() -> list[int]:
    """What the kernel has counted of all cores: user, nice, system, idle, iowait, and so on."""
    return [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


def facts() -> dict[str, Any]:
    """What a reader of the results has to know of this machine."""
    return {
        "cpu": _cpu_model(),
        "cores": len(CORES),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    try:
        command = ["git", "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
