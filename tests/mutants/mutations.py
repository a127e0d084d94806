"""All mutants of a package, as mutmut makes them, and a seeded sample of them.

mutmut says what can be changed; it leaves out decorated functions, annotations, docstrings and calls of `len`
and `isinstance`. `PROSE` is left out here.
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants.packages import Package

PROSE: Final = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
"""Matches a string for people. Its wording is not a contract, so a change of letters is not a mistake."""


class Identity(NamedTuple):
    """Names a mutant even when lines move: `nth` of those with the same change in the same `scope`."""

    file: str
    scope: str
    was: str
    becomes: str
    nth: int = 1


@dataclass(frozen=True)
class Mutant:
    """One change. `source` is its whole module, `line` where it differs, `lines` those of its statement."""

    identity: Identity
    module: str
    line: int
    lines: range
    at_import: bool
    source: str

    def __str__(self) -> str:
        """Where it is, and the change."""
        identity = self.identity
        return f"{identity.file}:{self.line}: {identity.was}  →  {identity.becomes or '(nothing)'}"


def mutants_of(package: Package, files: Container[str] | None = None) -> list[Mutant]:
    """All mutants of the package's pure modules, or of those in `files`, which are relative to its root."""
    return [
        mutant
        for module in package.modules()
        if files is None or str(module) in files
        for mutant in _mutants_in(package, module)
    ]


def sample(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draw `count` mutants. A mutant's rank depends only on itself and the seed."""

    def place(mutant: Mutant) -> bytes:
        return hashlib.sha256("\0".join((str(seed), *map(str, mutant.identity))).encode()).digest()

    return sorted(mutants, key=place)[:count]


def _mutants_in(package: Package, module: Path) -> Iterator[Mutant]:
    original = (package.root / module).read_text(encoding="utf-8")
    statements = _Statements(original)
    seen = {original}
    same: Counter[Identity] = Counter()
    for source in _changed(str(module), original):
        if source in seen:
            continue
        seen.add(source)
        line, was, becomes = difference(original, source)
        statement = statements.at(line)
        identity = Identity(str(module), statement.scope, was, becomes)
        same[identity] += 1
        yield Mutant(
            identity=identity._replace(nth=same[identity]),
            module=package.import_name(module),
            line=line,
            lines=statement.lines,
            at_import=statement.at_import,
            source=source,
        )


def _changed(name: str, original: str) -> Iterator[str]:
    """The module's source once for each mutation."""
    import libcst
    from libcst.metadata import CodeRange, MetadataWrapper, WhitespaceInclusivePositionProvider
    from mutmut.mutation.file_mutation import create_mutations

    tree, mutations, *_ = create_mutations(name, original)
    positions = MetadataWrapper(tree, unsafe_skip_copy=True).resolve(WhitespaceInclusivePositionProvider)
    starts = [0]
    for line in original.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for mutation in mutations:
        if isinstance(mutation.original_node, libcst.SimpleString) and PROSE.search(
            mutation.original_node.value
        ):
            continue
        if isinstance(mutation.mutated_node, libcst.Match):  # its lines need the indentation around it
            changed = tree.deep_replace(mutation.original_node, mutation.mutated_node)
            assert isinstance(changed, libcst.Module)
            yield changed.code
            continue
        place = positions[mutation.original_node]
        assert isinstance(place, CodeRange)
        start = starts[place.start.line - 1] + place.start.column
        end = starts[place.end.line - 1] + place.end.column
        yield original[:start] + tree.code_for_node(mutation.mutated_node) + original[end:]


def difference(original: str, changed: str) -> tuple[int, str, str]:
    """The first line that differs, and what differs before and after, on one line each."""
    before, after = original.splitlines(), changed.splitlines()
    shorter = min(len(before), len(after))
    same = next((index for index in range(shorter) if before[index] != after[index]), shorter)
    tail = next(
        (index for index in range(shorter - same) if before[-1 - index] != after[-1 - index]), shorter - same
    )
    was, becomes = before[same : len(before) - tail], after[same : len(after) - tail]
    return same + 1, " ".join(map(str.strip, was)), " ".join(map(str.strip, becomes))


class _Statement(NamedTuple):
    """`lines` of a statement, or of the head of one that contains others."""

    lines: range
    scope: str
    at_import: bool


class _Statements:
    """Which statement a line belongs to."""

    def __init__(self, source: str) -> None:
        self._of_line: dict[int, _Statement] = {}
        self._add(ast.parse(source).body, (), at_import=True)

    def at(self, line: int) -> _Statement:
        return self._of_line.get(line, _Statement(range(line, line + 1), "", at_import=True))

    def _add(self, body: list[ast.stmt], scope: tuple[str, ...], *, at_import: bool) -> None:
        for statement in body:
            assert statement.end_lineno is not None
            whole = range(statement.lineno, statement.end_lineno + 1)
            blocks = list(_blocks(statement))
            head = range(whole.start, blocks[0][0].lineno) if blocks else whole
            inner, runs_later = scope, False
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner, runs_later = (*scope, statement.name), not isinstance(statement, ast.ClassDef)
            for line in whole:
                self._of_line[line] = _Statement(head or whole, ".".join(inner), at_import)
            for block in blocks:
                self._add(block, inner, at_import=at_import and not runs_later)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of statements inside of a statement."""
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(statement, name, None):
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body
