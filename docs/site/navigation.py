"""The navigation of the site, from the lists of its first page; and docstrings in the markup of Sphinx."""

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

LINK: Final = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
SECTION: Final = re.compile(r"(?:Args|Attributes|Example|Examples|Note|Raises|Returns|Yields):$")


class Group(NamedTuple):
    """A heading of the navigation, and its pages without suffix, from the top of the repository."""

    caption: str
    pages: tuple[str, ...]


def groups(text: str, docname: str, root: Path) -> list[Group]:
    """Return a group for each `##` heading of a page with the documents that are linked below it.

    A folder stands for its index. A page that is linked twice is in the first group only.
    """
    found, seen = [], {docname}
    for section in text.split("\n## ")[1:]:
        caption, _, body = section.partition("\n")
        pages = []
        for target in LINK.findall(body):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(docname), target))
            page = _page(root, path)
            if page not in seen and page:
                pages.append(page)
                seen.add(page)
        if pages:
            found.append(Group(caption, tuple(pages)))
    return found


def _page(root: Path, path: str) -> str:
    """Return the page that a path stands for; empty if it is none. Of a folder it is the index."""
    names = (f"{path}/index", f"{path}/README") if (root / path).is_dir() else (posixpath.splitext(path)[0],)
    files = ((name, root / f"{name}{suffix}") for name in names for suffix in (".md", ".rst"))
    return next((name for name, file in files if file.is_file()), "")


def toctrees(listed: Sequence[Group], documents: Iterable[str]) -> str:
    """Return the navigation as directives; documents that are in no group and no listed folder are `More`."""
    taken = {page for group in listed for page in group.pages}
    folders = tuple(page.removesuffix("index") for page in taken if page.endswith("/index"))
    others = tuple(
        page
        for page in documents
        if page not in taken and page != "docs/README" and not (folders and page.startswith(folders))
    )
    return "".join(_toctree(group) for group in [*listed, Group("More", others)] if group.pages)


def _toctree(group: Group) -> str:
    pages = "\n".join(f"/{page}" for page in group.pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {group.caption}\n\n{pages}\n```\n"


def marked_up(lines: Collection[str]) -> list[str]:
    """Return a docstring with `::` before each indented block that is code, and not a section's body."""
    result: list[str] = []
    code = False
    for line in lines:
        above = result[-1] if result else ""
        if not code and line.startswith("    ") and not above.strip():
            before = next((text for text in reversed(result) if text.strip()), "")
            if before and not before.startswith(" ") and not SECTION.match(before):
                result += ["::", ""]
                code = True
        elif line and not line.startswith(" "):
            code = False
        result.append(line)
    return result
