"""The npm package: what is in it, its types, and the programs of its documents, run beside it."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.fake_gateway import fake_gateway
from tests.npm import node, npm

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(__file__).parent
WEB: Final = ROOT / "web"
MANIFEST: Final[dict[str, Any]] = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
DECLARED: Final = re.compile(r"^export (?:declare )?(?:class|const|function) (\w+)", re.MULTILINE)
REEXPORTED: Final = re.compile(r"^export \{([^}]*)\} from", re.MULTILINE)
WEBSOCKET: Final = "--experimental-websocket"
"""Node has a WebSocket of its own from version 22, and before that with this option."""

TSCONFIG: Final[dict[str, Any]] = {
    "compilerOptions": {
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "exactOptionalPropertyTypes": True,
        "skipLibCheck": False,
        "target": "es2022",
        "module": "nodenext",
        "outDir": "out",
    },
    "files": ["consumer.ts"],
}


GLOBALS: Final = {
    "browser": {"lib": ["es2023", "dom", "dom.iterable"], "types": []},
    "node": {"lib": ["es2023"], "types": ["node"]},
}
"""What is there beside the language: a program for Node has no types of a browser."""


def run(*words: str, folder: Path) -> str:
    """Run a program that has to succeed; returns what it printed."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with the package as npm packs it."""
    folder = tmp_path_factory.mktemp("user")
    words = [
        npm(),
        "pack",
        "--json",
        "--ignore-scripts",
        "--offline",
        "--pack-destination",
        str(folder),
        str(WEB),
    ]
    (packed,) = json.loads(run(*words, folder=folder))
    with tarfile.open(folder / packed["filename"]) as archive:
        archive.extractall(folder / "node_modules", filter="data")
    (folder / "node_modules" / "package").rename(folder / "node_modules" / "depthcast")
    (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    return folder


def test_its_version_is_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert MANIFEST["version"] == project["version"]
    assert MANIFEST["name"] == project["name"]


def test_its_licence_is_ours() -> None:
    assert (WEB / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_package_has_the_client_and_nothing_of_the_page(user: Path) -> None:
    package = user / "node_modules" / "depthcast"
    held = {path.name for path in package.iterdir()}
    assert held == {*MANIFEST["files"], "package.json", "README.md", "LICENSE"}
    page = {path.name for path in (WEB / "page").iterdir()}
    assert "main.js" in page
    assert not page & held
    assert not {"page", "slow.js", "index.html"} & held


@pytest.mark.parametrize("entry", [name for name in MANIFEST["exports"] if not name.endswith(".json")])
def test_what_an_entry_exports_is_declared_and_the_reverse(user: Path, entry: str) -> None:
    name = "depthcast" + entry.removeprefix(".")
    program = f"console.log(JSON.stringify(Object.keys(await import('{name}'))))"
    exported = json.loads(run(node(), "--input-type=module", "-e", program, folder=user))
    text = (WEB / MANIFEST["exports"][entry]["types"]).read_text(encoding="utf-8")
    again = [word.strip() for words in REEXPORTED.findall(text) for word in words.split(",")]
    declared = DECLARED.findall(text) + [word for word in again if not word.startswith("type ")]
    assert set(exported) == set(declared)


@pytest.mark.slow
@pytest.mark.parametrize("host", GLOBALS)
def test_types_are_right_and_what_they_declare_is_there(user: Path, npm_folder: Path, host: str) -> None:
    modules = npm_folder / "node_modules"
    shutil.copy(FOLDER / "consumer.ts", user)
    options = {**TSCONFIG["compilerOptions"], **GLOBALS[host], "typeRoots": [str(modules / "@types")]}
    config = {**TSCONFIG, "compilerOptions": options}
    (user / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    run(node(), str(modules / "typescript" / "bin" / "tsc"), folder=user)
    assert run(node(), "out/consumer.js", folder=user).splitlines()[-1] == "everything is there"


# --- the programs in the documents


def blocks(document: Path, language: str) -> list[str]:
    """The blocks of one language in a document."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


DOCUMENTS: Final = (WEB / "README.md", ROOT / "docs" / "javascript.md", ROOT / "README.md")
PROGRAMS: Final = [
    pytest.param(text, id=f"{document.parent.name}/{document.name}:{number}")
    for document in DOCUMENTS
    for number, text in enumerate(blocks(document, "js"))
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with fake_gateway() as url:
        yield url


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_program_of_the_documents_prints_a_book(
    user: Path, npm_folder: Path, gateway: str, text: str
) -> None:
    assert "http://127.0.0.1:8080" in text
    ws = user / "node_modules" / "ws"
    if not ws.exists():
        shutil.copytree(npm_folder / "node_modules" / "ws", ws)
    if not (user / "web").exists():
        (user / "web").symlink_to(WEB)
    program = user / "book.mjs"
    if "console.log" not in text:
        text += "client.subscribe('BTC-USD');for await (const view of client) console.log(view.top().bids)"
    program.write_text(text.replace("http://127.0.0.1:8080", gateway), encoding="utf-8")
    words = [node(), WEBSOCKET, "--no-warnings", str(program)]
    with subprocess.Popen(words, cwd=user, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as process:
        assert process.stdout is not None
        try:
            said = next((line for line in process.stdout if re.search(r"65000\.10|6500010", line)), "")
        finally:
            process.kill()
    assert said


def test_components_in_the_documents_are_well_formed(tmp_path: Path, npm_folder: Path) -> None:
    written = [text for document in DOCUMENTS for text in blocks(document, "jsx")]
    assert written
    for number, text in enumerate(written):
        (tmp_path / f"component{number}.jsx").write_text(text, encoding="utf-8")
    typescript = npm_folder / "node_modules" / "typescript" / "lib" / "typescript.js"
    files = sorted(map(str, tmp_path.glob("*.jsx")))
    run(node(), str(FOLDER / "jsx.mjs"), str(typescript), *files, folder=tmp_path)
