"""The terminal interface of `depthcast watch`: keys, and frames drawn by `depthcast.cli.panel`."""

import asyncio
import sys
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from depthcast.cli.following import FRAME_MS, Following
from depthcast.cli.panel import connection_line, fit, keys_line, page, panels_that_fit

HELP: Final = """\
 q, Ctrl-C  end                     ?      this help, and back
 ← →        books before and after  Enter  one book alone, and all again

 A row is a price, its quantity, and a bar: its share of the largest one.
 Between asks and bids: the spread and the price in the middle.
 live: known to be current. STALE, red over grey: it may be old; the line says
 the age of its last update, and why. ENDED: the gateway no longer serves it.
 A quiet book is not stale: "ago" is the time since its last change.
 lag: age of the last change on arrival, by the clock of this machine."""


class Help(ModalScreen[None]):
    """What the keys and the words mean."""

    CSS = "Help Static { width: 80; height: auto; background: $surface; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,question_mark,enter", "dismiss", "back"),
        Binding("ctrl+c", "app.quit", "end"),
    ]

    def compose(self) -> ComposeResult:
        yield Static(HELP, markup=False)


class WatchApp(App[None]):
    """Draws the books of `following` until `stop` is set or `reading` is done."""

    CSS = """
    Screen { background: $background; }
    Static { width: 100%; text-wrap: nowrap; text-overflow: clip; }
    #connection, #keys { height: 1; }
    #books { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "end"),
        Binding("question_mark", "help", "help"),
        Binding("left", "move(-1)", "books before"),
        Binding("right", "move(1)", "books after"),
        Binding("enter", "alone", "one or all"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, following: Following, stop: asyncio.Event, reading: asyncio.Task[None], depth: int
    ) -> None:
        super().__init__()
        self._following = following
        self._stop = stop
        self._reading = reading
        self._depth = depth
        self._first = 0
        self._alone = False
        self._places = {name: Static(id=name) for name in ("connection", "books", "keys")}
        self._drawn: dict[str, Text] = {}

    def compose(self) -> ComposeResult:
        yield from self._places.values()

    def on_mount(self) -> None:
        self.set_interval(FRAME_MS / 1000, self.draw_frame)
        self.draw_frame()

    def on_resize(self) -> None:
        self.draw_frame()

    def action_help(self) -> None:
        """Show the help."""
        self.push_screen(Help())

    def action_move(self, step: int) -> None:
        """Show the books before or after."""
        self._first += step
        self.draw_frame()

    def action_alone(self) -> None:
        """Show one book, or as many as fit."""
        self._alone = not self._alone
        self.draw_frame()

    def draw_frame(self) -> None:
        """Draw what has changed; end if there is nothing more to draw."""
        if self._stop.is_set() or self._reading.done():
            self.exit()
            return
        following, symbols = self._following, self._following.symbols
        width, height = self.size
        fits = min(1 if self._alone else panels_that_fit(width), len(symbols))
        self._first = min(max(self._first, 0), len(symbols) - fits)
        shown = [following.shown(symbol, self._depth) for symbol in symbols[self._first : self._first + fits]]
        line = connection_line(
            address=following.address,
            connected=following.client.connected,
            silent=following.silent,
            silence_s=following.silence_s,
            counts=_counts(following),
        )
        self._draw("connection", fit(line, width))
        self._draw("books", page(shown, width, max(height - 2, 1)))
        self._draw("keys", fit(keys_line(self._first, fits, len(symbols)), width))

    def _draw(self, name: str, text: Text) -> None:
        if text != self._drawn.get(name):
            self._drawn[name] = text
            self._places[name].update(text, layout=False)


def _counts(following: Following) -> str:
    """What this connection has received, and in which groups levels are."""
    counters = following.client.counters
    groups = "" if following.group == 1 else f"groups of {following.group} ticks  "
    return f"{groups}messages {counters.snapshots + counters.deltas}  merged {counters.merged}"


async def draw_ladders(following: Following, stop: asyncio.Event, depth: int) -> None:
    """Draw the books until `stop` is set or the user ends it; raises `ClientError`."""
    async with following.reading() as reading:
        app = WatchApp(following, stop, reading, depth)
        await app.run_async(mouse=False)
    if app.return_code:
        sys.exit(app.return_code)  # an error of ours, which the library has printed
