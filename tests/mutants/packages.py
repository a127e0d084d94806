"""The packages whose pure modules are mutated, and the tests that should notice it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
NOT_PURE: Final = frozenset({"runtime", "web"})
NOT_MUTATED: Final = frozenset({"__init__.py", "__main__.py"})


@dataclass(frozen=True)
class Package:
    """`folder` is relative to `root`; its modules are imported below `imported_as`; `tests`: paths."""

    folder: str
    imported_as: str
    tests: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    root: Path = ROOT

    def modules(self) -> Iterator[Path]:
        """Paths of the pure modules, relative to `root`."""
        for path in sorted((self.root / self.folder).rglob("*.py")):
            inner = path.relative_to(self.root / self.folder)
            if path.name not in NOT_MUTATED and NOT_PURE.isdisjoint(inner.parts):
                yield path.relative_to(self.root)

    def import_name(self, module: Path) -> str:
        """The name a module is imported by."""
        inner = module.relative_to(self.folder).with_suffix("")
        return ".".join((self.imported_as, *inner.parts))


def _package(name: str, *property_tests: str, left_out: tuple[str, ...] = ()) -> Package:
    tests = (f"tests/unit/{name}", *(f"tests/property/{test}" for test in property_tests))
    return Package(name, f"depthcast.{name}", tests, left_out)


PACKAGES: Final = {
    package.folder: package
    for package in (
        _package(
            "shared",
            "test_deep_ranks.py",
            "test_level_rows.py",
            "test_level_table.py",
            "test_reader_convergence.py",
        ),
        _package("broadcaster", "test_engine_model.py"),
        _package(
            "ingestor",
            "test_engine_exceptions.py",
            "test_engine_fast_path.py",
            "test_engine_garbage.py",
            "test_engine_model.py",
            "test_engine_replay.py",
            "test_order_table.py",
            "test_packed_events.py",
            left_out=(
                # Their result depends on how threads are scheduled.
                "tests/unit/ingestor/test_engine_threads.py",
                # They trace the interpreter, as the coverage measurement does.
                "tests/unit/ingestor/test_engine_interleavings.py",
            ),
        ),
        _package(
            "gateway",
            "test_gateway_orders.py",
            "test_gateway_sessions.py",
            "test_grouped_brute_force.py",
            "test_level_rows.py",
            "test_resume_elsewhere.py",
            "test_followed_on_demand.py",
            "test_view_brute_force.py",
        ),
    )
}
