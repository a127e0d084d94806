"""Runs one target in atheris, whose mutations are guided by the lines that an input reaches.

`python -m tests.fuzz.guided TARGET [libFuzzer's options and folders]`, with DEPTHCAST_PURE=1: only Python is
instrumented. The process ends when the fuzzer does.
"""

import logging
import sys

import atheris


def main() -> None:
    """See the module's docstring."""
    name, *options = sys.argv[1:]
    logging.disable()
    instrumented = ["depthcast", "tests.fuzz", "tomllib", "websockets"]
    with atheris.instrument_imports(include=instrumented, enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    run = TARGETS[name].run
    atheris.Setup([sys.argv[0], *options], run, enable_python_coverage=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
