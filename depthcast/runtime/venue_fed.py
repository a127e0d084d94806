"""What a live feed keeps of each symbol."""

from dataclasses import dataclass

from depthcast.feed.feeding import Feeding
from depthcast.feed.symbol_feed import SymbolFeed
from depthcast.shared.backoff import Backoff
from depthcast.shared.instruments import Instrument


@dataclass
class Fed:
    """One symbol, and what belongs to it.

    - `feeding`: with the venue's sizes by its list as last read.
    - `registered`: the instrument of its listing; `former`: that of one before, if it has ended here.
    - `followed`: the venue's sizes when the registered ones were last compared with them.
    - `unfit`: the last number that did not fit, in words; empty once that was looked at.
    - `refusal`: why the venue refuses it, while it is not known whether it is delisted. `suspicion`: why it
      refuses a connection with it, while it is not known whether a delisted symbol explains that.
    - `refusals`: how often in a row it was refused although the list had it.
    - `absences`: lists of the venue in a row that it was not in.
    - `rewrite_at`: when it is due to be written again.
    """

    feeding: Feeding
    feed: SymbolFeed
    partition: int
    backoff: Backoff
    registered: Instrument
    followed: Instrument
    former: Instrument | None = None
    unfit: str = ""
    refusal: str = ""
    suspicion: str = ""
    refusals: int = 0
    absences: int = 0
    rewrite_at: float | None = None
    rejected_at: float = 0.0

    @property
    def is_fed(self) -> bool:
        """Whether the venue is asked for it."""
        return not (self.feed.finished or self.feed.absent or self.refusal)

    def list_with(self, instrument: Instrument) -> None:
        """Go on with the sizes of another listing."""
        self.former, self.registered = self.registered, instrument
        self.rewrite_at = None
        self.unfit = self.feed.remedy = ""
