"""Whatever a `.pxd` declares exists in the `.py` beside it.

The translator ignores a declared local that the code does not have. So a renamed variable would silently
become an object again, and slower.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DECLARED = sorted(
    path
    for package in ("shared", "broadcaster", "ingestor", "gateway")
    for path in (ROOT / package).rglob("*.pxd")
)
MODULE = ""

_IN_C = re.compile(r"^cdef extern from \*:\n(?:[ \t].*\n|\n)*", re.MULTILINE)
_LOCALS = re.compile(r"@cython\.locals\(([^)]*)\)")
_NAME = re.compile(r"(\w+)\s*=")
_CLASS = re.compile(r"cdef class (\w+)")
_FUNCTION = re.compile(r"c(?:p?)def [\w ]*?(\w+)\(([^)]*)\)")
_ATTRIBUTE = re.compile(r"cdef (?:public |readonly )?[\w *]+? (\w+(?:, *\w+)*)$")


class Declaration(NamedTuple):
    """A name that a `.pxd` declares. `scope`: class or `Class.function`, empty in the module itself."""

    kind: str
    scope: str
    name: str


def declared_in(text: str) -> Iterator[Declaration]:
    """What the text of a `.pxd` declares of its `.py`; raises `ValueError` on a line that it cannot read."""
    class_, local_names = MODULE, list[str]()
    for line in _logical_lines(_IN_C.sub("", text)):
        indented, statement = line[:1].isspace(), line.strip()
        scope = class_ if indented else MODULE
        if statement.startswith(("cimport ", "from ")) or statement in ("@cython.final", "pass"):
            continue
        if found := _LOCALS.fullmatch(statement):
            local_names = _NAME.findall(found[1])
        elif found := _CLASS.match(statement):
            class_ = found[1]
            yield Declaration("class", MODULE, class_)
        elif found := _FUNCTION.match(statement):
            function = f"{scope}.{found[1]}" if scope else found[1]
            yield Declaration("function", scope, found[1])
            parts = [part.split("=")[0] for part in found[2].split(",") if part.strip()]
            arguments = [part.split()[-1].strip("*") for part in parts]
            yield from (Declaration("argument", function, name) for name in arguments)
            yield from (Declaration("local", function, name) for name in local_names)
            local_names = []
        elif found := _ATTRIBUTE.fullmatch(statement):
            for name in re.split(r", *", found[1]):
                yield Declaration("attribute", scope, name)
        else:
            raise ValueError(f"cannot be read: {line}")


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments, those within parentheses joined."""
    joined = ""
    for line in re.sub(r"#.*", "", text).splitlines():
        joined = f"{joined} {line.strip()}" if joined else line
        if joined.count("(") == joined.count(")"):
            if joined.strip():
                yield joined
            joined = ""


def present_in(source: str) -> set[Declaration]:
    """Everything that the source of a module has, in the same terms."""
    return set(_present(ast.parse(source), MODULE))


def _present(node: ast.Module | ast.ClassDef, scope: str) -> Iterator[Declaration]:
    for name in _bound(node.body):
        yield Declaration("attribute", scope, name)
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield Declaration("class", scope, child.name)
            yield from _present(child, child.name)
        elif isinstance(child, ast.FunctionDef):
            yield Declaration("function", scope, child.name)
            function = f"{scope}.{child.name}" if scope else child.name
            for argument in (*child.args.args, *child.args.kwonlyargs):
                yield Declaration("argument", function, argument.arg)
                yield Declaration("local", function, argument.arg)
            for name in _bound(child.body):
                yield Declaration("local", function, name)
            for name in _own_attributes(child):
                yield Declaration("attribute", scope, name)


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the statements assign to, not those within a function or class among them."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.comprehension):
            waiting.extend(ast.iter_child_nodes(node))


def _own_attributes(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from [node.attr] if isinstance(node.value, ast.Name) and node.value.id == "self" else []


def unknown(pxd: str, source: str) -> set[Declaration]:
    """What `pxd` declares and `source` does not have."""
    return set(declared_in(pxd)) - present_in(source)


def test_there_are_declarations() -> None:
    assert len(DECLARED) > 5


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_declared_is_there(path: Path) -> None:
    assert unknown(path.read_text(), path.with_suffix(".py").read_text()) == set()


SOURCE = """
LIMIT = 5
class Side:
    def __init__(self):
        self.levels = {}
    def enter(self, key):
        rank = -key
        for place, (low, high) in []:
            with open("") as file:
                total = [inner for inner in file]
def move(side, *, many=0):
    def nested():
        hidden = 1
"""


EVERYTHING = """
cimport cython
cdef extern from *:
    \"\"\"
    #define twice(number) (2 * (number))
    \"\"\"

    int twice(int number) noexcept
from elsewhere cimport Other
cdef long long LIMIT
@cython.final
cdef class Side:
    cdef public dict levels
    @cython.locals(
        rank=int, low=int,
        file=object, total=list,
    )
    cpdef object enter(self, long long key) except -1  # why
@cython.locals(many=object)
cdef int move(object side)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", None),
        ("LIMIT", "LIMITS", ("attribute", "", "LIMITS")),
        ("dict levels", "dict levels, ranks", ("attribute", "Side", "ranks")),
        ("cdef int move(", "cdef class Book:\n    pass\ncdef int move(", ("class", "", "Book")),
        ("total=list", "flat=list", ("local", "Side.enter", "flat")),
        ("total=list", "inner=int", ("local", "Side.enter", "inner")),
        ("long long key", "long long rank", ("argument", "Side.enter", "rank")),
        ("-1  # why", "-1\n    cpdef object leave(self, key)", ("function", "Side", "leave")),
        ("many=object", "hidden=int", ("local", "move", "hidden")),
    ],
)
def test_a_declaration_of_nothing_is_found(old: str, new: str, expected: tuple[str, str, str] | None) -> None:
    assert not old or old in EVERYTHING
    found = unknown(EVERYTHING.replace(old, new) if old else EVERYTHING, SOURCE)
    found = {declaration for declaration in found if declaration.scope != "Side.leave"}
    assert found == ({Declaration(*expected)} if expected else set())


def test_a_line_that_cannot_be_read_is_no_silence() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        list(declared_in("cdef extern from 'x.h':\n    pass\n"))
