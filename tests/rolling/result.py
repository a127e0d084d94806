"""What all clients saw of a restart, in figures, and whether that was no more than it had to be."""

from dataclasses import dataclass

from depthcast.feed.statistics import quantile
from tests.rolling.clients import Seen


@dataclass
class Result:
    """What all clients saw, and how long the restart took."""

    seen: list[Seen]
    seconds: float

    @property
    def fine(self) -> bool:
        return all(each.fine for each in self.seen)

    def lines(self) -> list[str]:
        """The figures, and each client that saw too much."""
        silences = [silence for each in self.seen for silence in each.silences_s] or [0.0]
        longest = [max(each.silences_s, default=0.0) for each in self.seen]
        reconnects = [each.reconnects for each in self.seen]
        back = sum(each.reconnects * each.views for each in self.seen)
        not_needed = sum(each.not_resumed for each in self.seen)
        gaps, wrong = sum(each.gaps for each in self.seen), sum(each.wrong for each in self.seen)
        p50, p99 = (quantile(longest, share) * 1000 for share in (0.5, 0.99))
        lines = [
            f"{len(self.seen)} clients, restarted in {self.seconds:.0f} s",
            f"reconnects of a client: {min(reconnects)} to {max(reconnects)}, {sum(reconnects)} in all",
            f"snapshots not needed: {not_needed} of {back} views that came back",
            f"gaps: {gaps}, wrong books: {wrong}",
            f"silence between updates: p99 {quantile(silences, 0.99) * 1000:.0f} ms",
            f"longest of each client: p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(longest) * 1000:.0f} ms",
        ]
        return lines + [
            f"client {each.number}: {each.reconnects} reconnects, {each.not_resumed} not resumed, "
            f"{each.gaps} gaps, {each.wrong} wrong {each.failed}"
            for each in self.seen
            if not each.fine
        ]
