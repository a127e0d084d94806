"""The JavaScript client: its own tests under Node, and its digest against ours in the browser."""

import re
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from depthcast.shared.digest import digest_of
from depthcast.shared.types import MAX_INTEGER
from tests.browser.chromium import launched

ROOT = Path(__file__).parents[2]
NODE_LEAST = 20

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


def test_its_own_tests_under_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)", version)
    if found is None or int(found[1]) < NODE_LEAST:
        pytest.skip(f"node {version.strip()} is older than {NODE_LEAST}")
    run = subprocess.run(
        [node, "--test", "tests/browser/client.test.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


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
