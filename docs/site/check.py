"""Checks a built site: links lead somewhere, nothing is loaded from elsewhere, references are complete.

    python docs/site/check.py build/site

Exit status 1 if something is wrong, with a line for each problem.
"""

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).resolve().parents[2]
LOADED: Final = {"script": "src", "img": "src", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """The ids of a page, its links, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names."""
        given = {name: text or "" for name, text in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") != "canonical":
            self.loads.append(given.get("href", ""))
        elif tag in LOADED and LOADED[tag] in given:
            self.loads.append(given[LOADED[tag]])


@cache
def page(path: Path) -> Page:
    """Return a page, read once."""
    return Page(path)


def problems(site: Path) -> Iterator[str]:
    """Give a line for each problem of the site in a folder."""
    found = sorted(site.rglob("*.html"))
    if len(found) < 2:
        yield f"{site}: no site is there"
    for path in found:
        shown = path.relative_to(site)
        yield from (
            f"{shown}: loads {load} from elsewhere" for load in page(path).loads if urlsplit(load).netloc
        )
        for link in page(path).links:
            if problem := _broken(path, link):
                yield f"{shown}: {link} {problem}"
    yield from _missing(site)


def _broken(path: Path, link: str) -> str:
    """Return what is wrong with a link of a page; empty if nothing is."""
    split = urlsplit(link)
    if split.scheme or split.netloc:
        return "" if split.scheme in ("https", "http", "mailto") else "has an unknown scheme"
    target = (path.parent / unquote(split.path)).resolve() if split.path else path
    if not target.is_file():
        return "leads nowhere"
    if split.fragment and target.suffix == ".html" and unquote(split.fragment) not in page(target).ids:
        return "names no place there"
    return ""


def _missing(site: Path) -> Iterator[str]:
    """Give a line for each command and each public name that its reference lacks."""
    sys.path.insert(0, str(ROOT))
    import depthcast.sync
    from depthcast.cli.main import SUBCOMMANDS

    reference = site / "docs" / "reference"
    commands, names = page(reference / "commands.html").ids, page(reference / "python.html").ids
    yield from (f"commands: {name} is missing" for name in SUBCOMMANDS if f"depthcast-{name}" not in commands)
    public = {
        f"{module.__name__}.{name}" for module in (depthcast, depthcast.sync) for name in module.__all__
    } - {"depthcast.__version__"}
    yield from (f"python: {name} is missing" for name in sorted(public - names))


def main(site: str) -> int:
    """Print the problems, and return the exit status."""
    lines = list(problems(Path(site)))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
