"""The page of a gateway that wants tokens, opened at an address that has one, in a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.site import TIMEOUT_S, filled, shows
from tests.browser.visit import visit_of
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.tokens import pem, private_key, token
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.pem"
    path.write_bytes(pem(private_key()))
    return str(path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(redis_server: str, keys_file: str) -> AsyncIterator[RunningGateway]:
    """A gateway that takes tokens and nobody without one."""
    async with filled(redis_server) as ingestor:
        with running_gateway(redis_server, ingestor.keys.prefix, token_keys=keys_file) as running:
            await eventually(lambda: running.process.access._revocations.revoked is not None)
            await ingestor.until_live(running)
            yield running


@pytest.mark.parametrize("fragment", ["#DEEP?levels=10&token=", "#?token="])
async def test_it_shows_what_the_token_of_its_address_allows(
    browser: Any, gateway: RunningGateway, fragment: str
) -> None:
    made = token(["DEEP"])
    async with visit_of(browser, f"{gateway.url}/{fragment}{made}") as visit:
        await shows(visit, "DEEP")
        assert made not in visit.page.url, "no link that is copied has it"
        listed = "[...document.querySelectorAll('#symbols [role=option]')].map((each) => each.textContent)"
        await visit.page.keyboard.press("/")

        async def allowed() -> bool:
            names: list[str] = await visit.page.evaluate(listed)
            return len(names) == 1 and names[0].startswith("DEEP")

        await eventually(
            allowed, TIMEOUT_S, "the search has the symbols that the token allows, and no others"
        )
