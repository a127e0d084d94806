"""The page of a gateway that wants tokens, in a real browser: one of its address, another in time or late."""

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.revocation import TOKEN_ID, member
from depthcast.shared.runtime.revoked_tokens import revoke
from tests.browser.chromium import opened
from tests.browser.site import TIMEOUT_S, filled, other_site, shows
from tests.browser.visit import Visit, visit_of
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.redis_client import patient
from tests.tokens import pem, private_key, token
from tests.waiting import eventually

WARNING_S: Final = 600
"""The gateway warns so long before a token expires."""
LEFT: Final = """(tokens) => {
  const text = [
    location.href, document.documentElement.outerHTML, JSON.stringify(history.state), document.cookie,
    JSON.stringify(localStorage), JSON.stringify(sessionStorage),
    ...performance.getEntriesByType("resource").map(({ name }) => name),
    ...[...document.querySelectorAll("input")].map(({ value }) => value),
  ].join(" ");
  return tokens.filter((token) => text.includes(token));
}"""
"""Which tokens the page has left where somebody may find them."""
AXE: Final = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target)}`);
}"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.pem"
    path.write_bytes(pem(private_key()))
    return str(path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(redis_server: str, keys_file: str) -> AsyncIterator[RunningGateway]:
    """A gateway that takes tokens and nobody without one."""
    async with other_site() as port, filled(redis_server) as ingestor:
        settings: dict[str, Any] = {
            "token_keys": keys_file,
            "token_warning_s": WARNING_S,
            "frame_origins": f"http://127.0.0.1:{port}",
        }
        with running_gateway(redis_server, ingestor.keys.prefix, **settings) as running:
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


def lasting(seconds: float, **changes: Any) -> str:
    """A token for one symbol that expires in so many seconds."""
    return token(["DEEP"], exp=int(time.time() + seconds), **changes)


async def leaves_nothing(visit: Visit, caplog: pytest.LogCaptureFixture, *tokens: str) -> None:
    assert await visit.page.evaluate(LEFT, list(tokens)) == []
    assert not [made for made in tokens if made in caplog.text]


async def asks(visit: Visit, text: str) -> None:
    """Wait until the page asks for a token, and says so."""

    async def so() -> bool:
        alarm, panel = await visit.text("alarm-text"), await visit.text("token")
        return await visit.sees("token-text") and text in f"{alarm} {panel}"

    await eventually(so, TIMEOUT_S, f"it asks for a token: {text}")


async def give(visit: Visit, text: str) -> None:
    await visit.page.locator("#token-text").fill(text)
    await visit.page.keyboard.press("Enter")


async def mark(visit: Visit) -> None:
    """Leave something in the page that does not outlive a reload."""
    await visit.page.evaluate("window.marked = true; window.visits = history.length;")


async def is_the_same_page(visit: Visit) -> bool:
    same: bool = await visit.page.evaluate("window.marked === true && history.length === window.visits")
    return same


async def test_another_token_in_time_leaves_the_connection_and_its_book(
    browser: Any, gateway: RunningGateway, npm_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, wrong, second = lasting(WARNING_S), lasting(900, aud="other"), lasting(2 * WARNING_S)
    async with visit_of(browser, f"{gateway.url}/#DEEP?token={first}") as visit:
        await mark(visit)
        await asks(visit, "The token ends at ")
        await shows(visit, "DEEP")
        await visit.page.evaluate(
            (npm_folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
        )
        assert await visit.page.evaluate(AXE) == []
        session = (await visit.shown())["session"]
        await give(visit, "no token")
        await asks(visit, "That is no token.")
        await give(visit, wrong)
        await asks(visit, "audience")
        await shows(visit, "DEEP")
        await give(visit, second)
        await eventually(lambda: _gone(visit, "token"), TIMEOUT_S, "it has what it wanted")
        await shows(visit, "DEEP")
        shown = await visit.shown()
        assert (shown["session"], shown["reconnects"]) == (session, "0")
        assert await is_the_same_page(visit)
        await leaves_nothing(visit, caplog, first, wrong, second)


async def test_after_the_end_of_a_token_the_page_goes_on_with_another(
    browser: Any,
    gateway: RunningGateway,
    redis_server: str,
    npm_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    name = f"token {time.time_ns()}"
    first, wrong, second = lasting(900, jti=name), lasting(900, aud="other"), lasting(2 * WARNING_S)
    async with visit_of(browser, f"{gateway.url}/#DEEP?group=10&token={first}") as visit:
        await mark(visit)
        await shows(visit, "DEEP")
        async with patient(redis_server) as redis:
            key = DeploymentKeys(gateway.process.settings.prefix).revoked
            assert await revoke(redis, key, member(TOKEN_ID, name), 60)
        await asks(visit, "The token was revoked.")
        await shows(visit, "DEEP", "no token")
        await visit.page.evaluate(
            (npm_folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
        )
        assert await visit.page.evaluate(AXE) == []
        await give(visit, wrong)
        await asks(visit, "audience")
        await shows(visit, "DEEP", "no token")
        await give(visit, second)
        await shows(visit, "DEEP")
        assert not await visit.sees("token")
        assert await is_the_same_page(visit)
        await leaves_nothing(visit, caplog, first, wrong, second)


async def test_who_has_no_token_is_asked_for_one(
    browser: Any, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = lasting(2 * WARNING_S)
    async with visit_of(browser, f"{gateway.url}/") as visit:
        await mark(visit)
        await asks(visit, "This gateway wants a token.")
        await give(visit, made)
        await shows(visit, "DEEP")
        assert await is_the_same_page(visit)
        await leaves_nothing(visit, caplog, made)
        assert [said for said in visit.problems if "401" not in said] == []
        assert len(visit.problems) == 2, "it was asked once, and the browser says so"
        visit.problems.clear()


async def test_a_token_in_a_changed_address_is_taken_and_removed(
    browser: Any, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """As a link that is pasted, and as the site that shows the page in a frame does it."""
    caplog.set_level(logging.DEBUG)
    first, second, bobs = lasting(WARNING_S), lasting(2 * WARNING_S), lasting(2 * WARNING_S, sub="bob")
    async with visit_of(browser, f"{gateway.url}/#DEEP?token={first}") as visit:
        await asks(visit, "The token ends at ")
        session = (await visit.shown())["session"]
        await visit.page.evaluate("(token) => { location.hash = `#DEEP?levels=10&token=${token}`; }", second)
        await eventually(lambda: _gone(visit, "token"), TIMEOUT_S, "it has what it wanted")
        await shows(visit, "DEEP")
        shown = await visit.shown()
        assert (shown["session"], shown["reconnects"]) == (session, "0")
        assert visit.page.url.endswith("/#DEEP?levels=10")

        # A connection is of one subject: for another there is a new one.
        await visit.page.evaluate("(token) => { location.hash = `#DEEP?levels=10&token=${token}`; }", bobs)
        await eventually(lambda: _is_another(visit, session), TIMEOUT_S, "there is another connection")
        await shows(visit, "DEEP")
        await visit.page.go_back()
        await shows(visit, "DEEP")
        await leaves_nothing(visit, caplog, first, second, bobs)
    [origin] = gateway.process.settings.frame_origins.split()
    async with opened(browser) as page:
        await page.goto(f"{origin}/?of={gateway.url}/%23DEEP?token={first}")
        frame = page.frames[1]
        await frame.locator("#token-text").wait_for()
        await frame.evaluate("window.marked = true;")
        source = f"{gateway.url}/#DEEP?token={second}"
        await page.evaluate("(source) => { document.querySelector('iframe').src = source; }", source)
        await frame.locator("#token").wait_for(state="hidden")
        await frame.locator("body[data-state=live]").wait_for()
        assert await frame.evaluate("window.marked")
        assert frame.url.endswith("/#DEEP")


async def _gone(visit: Visit, element: str) -> bool:
    return not await visit.sees(element)


async def _is_another(visit: Visit, session: str) -> bool:
    shown = await visit.shown()
    return bool(shown["word"] == "live" and shown["session"] != session)


@pytest.mark.parametrize(("link", "part"), [("#snapshot", '"bids"'), ("a.served:not([id])", '"symbol"')])
async def test_its_links_show_what_the_token_allows(
    browser: Any, gateway: RunningGateway, link: str, part: str
) -> None:
    async with visit_of(browser, f"{gateway.url}/#DEEP?token={token(['DEEP'])}") as visit:
        await shows(visit, "DEEP")
        async with visit.page.context.expect_page() as opened_tab:
            await visit.page.click(link)
        tab = await opened_tab.value
        await tab.wait_for_url("blob:**")
        text = await tab.locator("body").text_content()
        assert part in text
        assert "DEEP" in text
        await tab.close()
