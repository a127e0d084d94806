"""Checks that every module of the installed Depthcast that has declarations runs compiled.

    python tests/packaging/check_installed.py

cibuildwheel runs it for every wheel (`pyproject.toml`), where nothing but the wheel and what it needs is
installed.
"""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IN_C = "depthcast.gateway.runtime._batch"
PACKAGES = ("shared", "broadcaster", "ingestor", "gateway")


def main() -> None:
    """End with status 1 and the reason if something is missing."""
    import depthcast
    from depthcast.shared.compiled import is_compiled

    if Path(depthcast.__file__).is_relative_to(ROOT / "depthcast"):
        sys.exit("this Python imports the checkout, not an installed wheel")
    for name in depthcast.__all__:
        getattr(depthcast, name)
    declared = sorted(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.pxd"))
    modules = [".".join(("depthcast", *path.with_suffix("").parts)) for path in declared]
    slow = [name for name in modules if not is_compiled(importlib.import_module(name))]
    if find_spec(IN_C) is None:
        slow.append(IN_C)
    if slow or not modules:
        sys.exit(f"not compiled: {', '.join(slow)}")


if __name__ == "__main__":
    main()
