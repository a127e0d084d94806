"""Compiles every module that has a `.pxd` beside it; all metadata is in `pyproject.toml`.

Where there is no C compiler, or `DEPTHCAST_COMPILE=0` is set, the same modules run as Python: slower, and
otherwise alike.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup

# Named one by one: a search of the whole package would not enter folders that are links.
PACKAGES = [Path("depthcast", name) for name in ("shared", "broadcaster", "ingestor", "gateway")]
# More optimization takes half as long again, and runs no faster; who sets CFLAGS chooses it. Warnings about
# generated code help nobody.
FLAGS = [*([] if "CFLAGS" in os.environ else ["-O1"]), "-g0", "-w"]
# Written in C, because Python cannot say it; what stands in for it is in the module named beside it.
IN_C = [Path("depthcast", "gateway", "runtime", "_batch.c")]  # depthcast.gateway.runtime.submission
# Commands that compile nothing, so translating to C would be wasted on them.
WITHOUT_EXTENSIONS = {"sdist", "egg_info", "dist_info"}


def extensions() -> list[Extension]:
    """One for each module with declarations, translated to C."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    unwanted = os.environ.get("DEPTHCAST_COMPILE", "1") == "0" or WITHOUT_EXTENSIONS & set(sys.argv)
    if unwanted or shutil.which(compiler.split()[0]) is None:
        return []
    from Cython.Build import cythonize

    sources = sorted(path.with_suffix(".py") for package in PACKAGES for path in package.rglob("*.pxd"))
    wanted = [
        Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=FLAGS, optional=True)
        for path in sources
    ]
    # Types are declared in the .pxd alone: an annotation says what a caller may pass, not what C may assume.
    directives = {"language_level": "3", "annotation_typing": False}
    made: list[Extension] = cythonize(  # type: ignore[no-untyped-call]
        wanted,
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        compiler_directives=directives,
        quiet=True,
    )
    # A warning in our own C is worth reading.
    by_hand = [
        Extension(
            ".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=FLAGS[:-1], optional=True
        )
        for path in IN_C
    ]
    return made + by_hand


if __name__ == "__main__":
    setup(ext_modules=extensions())
