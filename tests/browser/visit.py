"""What a test reads from the page, and how it operates it."""

from decimal import Decimal
from typing import Any, Final

READ_PANE: Final = """(id) => {
  const section = document.getElementById(id);
  const rows = (side) => [...section.querySelectorAll(`.${side} tr`)]
    .map((row) => [...row.cells].map((cell) => cell.textContent)).filter(([price]) => price);
  const figures = Object.fromEntries(
    [...section.querySelectorAll("[data-name]")].map((item) => [item.dataset.name, item.textContent]));
  const state = section.querySelector(".state").textContent;
  return { ...section.dataset, ...figures, state, bids: rows("bids"), asks: rows("asks") };
}"""

READ_DIFFERENCE: Final = """() => {
  const { levels, distance } = document.getElementById("difference").dataset;
  return levels === "" ? null : [Number(levels), Number(distance)];
}"""

ROWS_SHOWN: Final = 12


class Visit:
    """One open page, and everything that went wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("requestfailed", lambda request: self.problems.append(f"request failed: {request.url}"))
        page.on("response", self._on_response)

    async def pane(self, name: str) -> dict[str, Any]:
        """Return the pane `live` or `slow` as drawn now: data attributes, figures, state and rows."""
        shown: dict[str, Any] = await self.page.evaluate(READ_PANE, name)
        return shown

    async def seq_held(self) -> str:
        """The seq of the slow pane while it is drawn as paused; nothing before."""
        shown = await self.pane("slow")
        return str(shown["seq"]) if shown["state"] == "paused" else ""

    async def difference(self) -> tuple[int, int] | None:
        """Levels that differ and distance in seq; None before both books are there."""
        shown = await self.page.evaluate(READ_DIFFERENCE)
        return None if shown is None else (shown[0], shown[1])

    async def count(self, pane: str, figure: str) -> int:
        """A figure of a pane that begins with a whole number."""
        text = (await self.pane(pane))[figure]
        return int(text.split()[0]) if text != "–" else 0

    async def choose(self, name: str, value: str) -> None:
        """Pick an entry of the list `name`."""
        await self.page.locator(f"#{name}").select_option(value)

    async def delay(self, ms: int) -> None:
        """Set the slow link's delay per message."""
        await self.page.locator("#delay").fill(str(ms))

    async def fits(self, width: int) -> bool:
        """Whether a screen of that width shows the page without scrolling sideways."""
        await self.page.set_viewport_size({"width": width, "height": 800})
        wide: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return wide <= width

    async def press_pause(self) -> None:
        """Pause the slow link, or let it go on."""
        await self.page.locator("#pause").click()

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} for {response.url}")


def expected_rows(levels: list[list[int]], tick: str, lot: str) -> list[list[str]]:
    """Return the ladder's rows, best first, for a side of a REST snapshot: price, size, cumulated size."""
    rows, total = [], 0
    for price, quantity in levels[:ROWS_SHOWN]:
        total += quantity
        rows.append([_decimal(price, tick), _decimal(quantity, lot), _decimal(total, lot)])
    return rows


def _decimal(count: int, size: str) -> str:
    return f"{count * Decimal(size):f}"
