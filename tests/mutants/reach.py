"""Selects the tests to run for a mutant: those that reach its statement."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutant


@dataclass(frozen=True)
class Reached:
    """The coverage of a run of all tests.

    - `lines`: the tests that reach each line of each file; an empty name is the import of the tests.
    - `seconds`: processor time of each test.
    - `imports`: the names each source and test file imports.
    """

    root: Path
    lines: Mapping[Path, Mapping[int, frozenset[str]]]
    seconds: Mapping[str, float]
    imports: Mapping[Path, frozenset[str]]

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests to run, the quickest first: those that reach the mutant's statement.

        If a statement runs at import, coverage does not show which tests depend on it. Then these are all
        tests that reach its module or one that imports it, or that are in a file that imports it. The latter
        are also added if a function was called while tests were imported, for their parameters.
        """
        path = (self.root / mutant.identity.file).resolve()
        users = {user for user, names in self.imports.items() if mutant.module in names} | {path}
        tests = {test for line in mutant.lines for test in self.lines.get(path, {}).get(line, ())}
        if mutant.at_import:
            tests |= {
                test for user in users for reaching in self.lines.get(user, {}).values() for test in reaching
            }
        if mutant.at_import or "" in tests:
            tests |= {test for test in self.seconds if self.root / test.partition("::")[0] in users}
        return sorted(tests - {""}, key=lambda test: (self.seconds[test], test))


def imported_names(path: Path) -> frozenset[str]:
    """Dotted names a file imports, of modules and of what is in them."""
    return frozenset(_imported(ast.parse(path.read_text(encoding="utf-8"))))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
