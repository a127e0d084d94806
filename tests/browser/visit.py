"""What a test reads from the page, and how it operates it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

READ: Final = """([shown, figures, state]) => {
  const section = document.querySelector(shown);
  const rows = (side) => [...section.querySelectorAll(`.${side} tr`)]
    .map((row) => [...row.cells].map((cell) => cell.textContent)).filter(([price]) => price);
  const named = Object.fromEntries([...document.querySelectorAll(`${figures} [data-name]`)]
    .map((item) => [item.dataset.name, item.textContent]));
  const word = document.querySelector(state).textContent;
  const middle = section.querySelector(".gap td").textContent;
  return { ...section.dataset, ...named, word, middle, bids: rows("bids"), asks: rows("asks") };
}"""

READ_DIFFERENCE: Final = """() => {
  const { levels, distance } = document.getElementById("difference").dataset;
  return levels === "" ? null : [Number(levels), Number(distance)];
}"""

AWAY_FROM_MIDDLE: Final = """() => {
  const box = (selector) => document.querySelector(selector).getBoundingClientRect();
  const [ladder, head, gap] = [box("#book .ladder"), box("#book thead"), box("#book .gap")];
  return Math.abs((gap.top + gap.bottom) / 2 - (ladder.top + head.height + ladder.bottom) / 2);
}"""

BOOK: Final = "book"
COMPARED: Final = ("direct", "slow")


class Visit:
    """One open page, and everything that went wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("requestfailed", self._on_failure)
        page.on("response", self._on_response)

    async def shown(self, name: str = BOOK) -> dict[str, Any]:
        """Return the book, or the pane `direct` or `slow`, as drawn now.

        It has data attributes, figures, rows, the text between the sides, and the word for its state.
        """
        pane = [f"#{name}", f"#{name}", f"#{name} .state"]
        where = ["#book", "#book-view", "#standing"] if name == BOOK else pane
        read: dict[str, Any] = await self.page.evaluate(READ, where)
        return read

    async def seq_held(self) -> str:
        """The seq of the slow pane while it is drawn as paused; nothing before."""
        shown = await self.shown("slow")
        return str(shown["seq"]) if shown["word"] == "paused" else ""

    async def difference(self) -> tuple[int, int] | None:
        """Levels that differ and distance in seq; None while a book is not known."""
        shown = await self.page.evaluate(READ_DIFFERENCE)
        return None if shown is None else (shown[0], shown[1])

    async def count(self, name: str, figure: str) -> int:
        """A figure of the book or a pane that begins with a whole number."""
        text = (await self.shown(name))[figure]
        return int(text.split()[0]) if text != "–" else 0

    async def text(self, element: str) -> str:
        """What an element says; nothing while it is not to be seen."""
        said: str = await self.page.locator(f"#{element}").inner_text() if await self.sees(element) else ""
        return said

    async def sees(self, element: str) -> bool:
        """Whether an element can be seen."""
        seen: bool = await self.page.locator(f"#{element}").is_visible()
        return seen

    async def choose(self, name: str, value: str) -> None:
        """Pick an entry of the list `name`."""
        await self.page.locator(f"#{name}").select_option(value)

    async def search(self, text: str) -> None:
        """Choose the first symbol that matches, with the keyboard alone."""
        await self.page.keyboard.press("/")
        await self.page.keyboard.type(text)
        await self.page.locator(f"#symbols [data-symbol='{text}']").wait_for()
        await self.page.keyboard.press("Enter")

    async def delay(self, ms: int) -> None:
        """Set the slow link's delay per message."""
        await self.page.locator("#delay").fill(str(ms))

    async def resize(self, width: int, height: int = 800) -> None:
        """Give the page another screen."""
        await self.page.set_viewport_size({"width": width, "height": height})

    async def overflow(self) -> tuple[int, int]:
        """Pixels that do not fit on the screen, across and down."""
        across, down = await self.page.evaluate(
            "(({ scrollWidth, scrollHeight }) => [scrollWidth - innerWidth, scrollHeight - innerHeight])"
            "(document.documentElement)"
        )
        return max(across, 0), max(down, 0)

    async def away_from_middle(self) -> float:
        """Pixels between the spread and the middle of the ladder."""
        pixels: float = await self.page.evaluate(AWAY_FROM_MIDDLE)
        return pixels

    async def press_pause(self) -> None:
        """Pause the slow link, or let it go on."""
        await self.page.locator("#pause").click()

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")

    def _on_failure(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # by leaving the page
            self.problems.append(f"request failed: {request.url} {request.failure}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} for {response.url}")


@asynccontextmanager
async def visit_of(browser: Any, url: str) -> AsyncIterator[Visit]:
    """The page at `url` in a profile of its own; nothing in it may complain."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        visit = Visit(await context.new_page())
        await visit.page.goto(url)
        yield visit
        assert visit.problems == [], visit.problems
    finally:
        await context.close()


def expected_rows(levels: list[list[int]], tick: str, lot: str) -> list[list[str]]:
    """Return the ladder's rows, best first, for a side of a REST snapshot: price, size, cumulated size."""
    rows, total = [], 0
    for price, quantity in levels:
        total += quantity
        rows.append([_decimal(price, tick), _decimal(quantity, lot), _decimal(total, lot)])
    return rows


def expected_groups(levels: list[list[int]], ticks: int, side: str) -> list[list[int]]:
    """Return a whole side summed up in rows of `ticks` ticks: bids round down, asks up."""
    sums: dict[int, int] = {}
    for price, quantity in levels:
        row = price // ticks if side == "bids" else -(-price // ticks)
        sums[row * ticks] = sums.get(row * ticks, 0) + quantity
    return [list(row) for row in sums.items()]


def _decimal(count: int, size: str) -> str:
    return f"{count * Decimal(size):f}"
