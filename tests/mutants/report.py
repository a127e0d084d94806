"""The result for a package's mutants."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.mutants.mutations import Identity, Mutant
from tests.mutants.reasons import wrong_reasons
from tests.mutants.trials import Verdict

TARGET_PERCENT: Final = 90.0
_ROW: Final = "{:<12} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>8}"
HEAD: Final = _ROW.format(
    "package", "mutants", "sampled", "noticed", "timeouts", "survived", "listed", "percent"
)


@dataclass(frozen=True)
class Report:
    """`mutants`: all; `verdicts`: of those tried; `reasons`: of those that are not mistakes."""

    package: str
    mutants: Sequence[Mutant]
    verdicts: Mapping[Mutant, Verdict]
    reasons: Mapping[Identity, str]

    @property
    def noticed(self) -> list[Mutant]:
        """Mutants that made a test fail, or never end."""
        return [mutant for mutant, verdict in self.verdicts.items() if verdict is not Verdict.SURVIVED]

    @property
    def survivors(self) -> list[Mutant]:
        """Mutants that no test noticed and that have no reason."""
        return [
            mutant
            for mutant, verdict in self.verdicts.items()
            if verdict is Verdict.SURVIVED and mutant.identity not in self.reasons
        ]

    @property
    def percent(self) -> float:
        """The share that was noticed; those with a reason count as not noticed."""
        return 100 * len(self.noticed) / len(self.verdicts) if self.verdicts else 100.0

    @property
    def wrong(self) -> list[str]:
        """Reasons that do not hold."""
        return list(wrong_reasons(self.reasons, self.package, self.mutants, self.noticed))

    @property
    def good(self) -> bool:
        """Whether the tests notice enough, and all reasons hold."""
        return self.percent >= TARGET_PERCENT and not self.wrong

    def lines(self) -> Iterator[str]:
        """Lines about everything that needs attention."""
        for mutant in sorted(self.survivors, key=lambda mutant: (mutant.identity.file, mutant.line)):
            yield f"survived: {mutant}"
        for text in self.wrong:
            yield f"reasons.toml: {text}"

    def row(self) -> str:
        """The package's row of the table."""
        counts = Counter(self.verdicts.values())
        survived = counts[Verdict.SURVIVED]
        return _ROW.format(
            self.package,
            len(self.mutants),
            len(self.verdicts),
            len(self.noticed),
            counts[Verdict.TIMEOUT],
            survived,
            survived - len(self.survivors),
            f"{self.percent:.1f}",
        )
