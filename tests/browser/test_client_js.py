"""The JavaScript client: its own tests under Node, every runtime, and its digest in the browser."""

import os
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from depthcast.shared.digest import digest_of
from depthcast.shared.types import MAX_INTEGER
from tests.browser.chromium import launched
from tests.browser.fake_gateway import fake_gateway
from tests.npm import node

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]

DIGESTS = """async ([module, books]) => {
  const { digestOf } = await import(module);
  return books.map(([bids, asks]) => digestOf(bids, asks));
}"""


def random_books(seed: int, count: int) -> list[list[list[list[int]]]]:
    """Books with prices and quantities over the whole range."""
    random = Random(seed)

    def level() -> list[int]:
        reach = 10 ** random.randint(1, 15)
        return [random.randint(-reach, reach), random.randint(1, MAX_INTEGER >> random.randint(0, 50))]

    def side() -> list[list[int]]:
        levels = [level() for _ in range(random.randint(0, 20))]
        return list({level[0]: level for level in levels}.values())

    return [[side(), side()] for _ in range(count)]


def run_under_node(*names: str, **variables: str) -> None:
    """Run test files of this folder under Node's own runner."""
    # Before version 22, Node's WebSocket needs the option.
    words = [node(), "--experimental-websocket", "--no-warnings", "--test", *names]
    environment = os.environ | variables
    run = subprocess.run(
        words, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_its_own_tests_under_node(name: str) -> None:
    run_under_node(name)


def test_it_survives_everything_with_the_websockets_of_packages(npm_folder: Path) -> None:
    run_under_node("robust.test.mjs", TESTED_NODE_MODULES=str(npm_folder))


RUNTIMES = {
    "node": ["--experimental-websocket", "--no-warnings"],
    "deno": ["run", "--quiet", "--allow-net", "--allow-read"],
    "bun": ["run"],
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_comes_back_on_every_runtime(runtime: str) -> None:
    path = shutil.which(runtime)
    if path is None:
        pytest.skip(f"no {runtime} on the PATH")
    with fake_gateway("faults") as url:
        words = [path, *RUNTIMES[runtime], "one_book.mjs", url]
        run = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    reconnects, price = run.stdout.split()
    assert int(reconnects) >= 4
    assert price == "65000.10"


async def test_its_digest_is_ours_in_the_browser() -> None:
    books = random_books(seed=1, count=300)
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "web").glob("*.js")}
    async with launched() as browser:
        page = await browser.new_page()

        async def serve(route: Any) -> None:
            name = route.request.url.rpartition("/")[2]
            kind = "text/javascript" if name in files else "text/html"
            await route.fulfill(body=files.get(name, ""), content_type=kind)

        await page.route("**/*", serve)
        await page.goto("http://client.test/")
        digests = await page.evaluate(DIGESTS, ["http://client.test/depthcast.js", books])
    assert digests == [
        digest_of([(p, q) for p, q in bids], [(p, q) for p, q in asks]) for bids, asks in books
    ]
