"""The mutants of a toy package: those that its tests notice are counted, the others reported."""

from pathlib import Path

import pytest

from tests.mutants.mutations import Identity, Mutant, difference, mutants_of, sample
from tests.mutants.packages import PACKAGES, ROOT, Package
from tests.mutants.reasons import read_reasons, wrong_reasons
from tests.mutants.report import Report
from tests.mutants.trials import ENVIRONMENT, Trials, Unsound, Verdict

SOURCE = '''"""Prices."""


def crossed(bid: int, ask: int) -> bool:
    return bid >= ask


def counted_down(steps: int) -> int:
    while steps > 0:
        steps -= 1
    return steps


def unseen(price: int) -> int:
    return price + 1 - 2
'''
TESTS = """
from toy.price import counted_down, crossed

def test_crossed():
    assert crossed(2, 1)
    assert not crossed(1, 2)

def test_counted_down():
    assert counted_down(3) == 0
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials change the environment, which later tests of this process must not see."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


LOCKED = Identity("toy/price.py", "crossed", "return bid >= ask", "return bid > ask")


@pytest.fixture
def toy(tmp_path: Path) -> Package:
    for name, text in {
        "pytest.ini": "[pytest]\n",
        "toy/__init__.py": "",
        "toy/price.py": SOURCE,
        "toy/runtime/clock.py": "SECONDS = 60\n",
        "toy_tests/test_price.py": TESTS,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package("toy", "toy", ("toy_tests",), root=tmp_path)


def by_change(mutants: list[Mutant]) -> dict[str, Mutant]:
    return {mutant.identity.becomes: mutant for mutant in mutants}


def test_only_pure_modules_are_mutated(toy: Package) -> None:
    assert list(toy.modules()) == [Path("toy/price.py")]
    assert {mutant.module for mutant in mutants_of(toy)} == {"toy.price"}


def test_a_mutant_says_where_it_is(toy: Package) -> None:
    mutant = by_change(mutants_of(toy))["return bid > ask"]
    assert mutant.identity == LOCKED
    assert str(mutant) == "toy/price.py:5: return bid >= ask  →  return bid > ask"
    assert mutant.source == SOURCE.replace(">= ask", "> ask")


def test_mutants_that_make_the_same_change_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/twice.py").write_text("x = 1\ny = x\nx = 1\n", encoding="utf-8")
    found = [mutant.identity for mutant in mutants_of(Package("toy", "toy", (), root=tmp_path))]
    assert Identity("toy/twice.py", "", "x = 1", "x = 2", 1) in found
    assert Identity("toy/twice.py", "", "x = 1", "x = 2", 2) in found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", (2, "b", "B")),
        ("f(\n    a,\n    b,\n)\n", "f(\n    a,\n)\n", (3, "b,", "")),
        ("a\na\n", "a\na\na\n", (3, "", "a")),
    ],
)
def test_a_difference_on_one_line(before: str, after: str, expected: tuple[int, str, str]) -> None:
    assert difference(before, after) == expected


def test_a_sample_is_the_same_each_time_and_survives_other_changes(toy: Package) -> None:
    before = sample(mutants_of(toy), 5, seed=1)
    assert before == sample(mutants_of(toy), 5, seed=1)
    assert before != sample(mutants_of(toy), 5, seed=2)
    path = toy.root / "toy/price.py"
    path.write_text(f"# One line more.\n{SOURCE}", encoding="utf-8")
    after = sample(mutants_of(toy), 5, seed=1)
    assert [mutant.identity for mutant in after] == [mutant.identity for mutant in before]


class TestReach:
    """Which tests run for a mutant."""

    def reached(self, toy: Package, mutant: Mutant) -> list[str]:
        return [test.rpartition("::")[2] for test in Trials(toy, jobs=1).measure().tests_for(mutant)]

    def test_those_that_reach_its_statement(self, toy: Package) -> None:
        assert self.reached(toy, by_change(mutants_of(toy))["return bid > ask"]) == ["test_crossed"]

    def test_a_call_for_parameters_counts_for_the_tests_of_its_file(self, toy: Package) -> None:
        (toy.root / "toy_tests/test_unseen.py").write_text(
            "from toy.price import unseen\n\nVALUE = unseen(5)\n\n"
            "def test_unseen():\n    assert VALUE == 4\n",
            encoding="utf-8",
        )
        assert "test_unseen" in self.reached(toy, by_change(mutants_of(toy))["return price - 1 - 2"])

    def test_whoever_imports_a_module_depends_on_its_constants(self, toy: Package) -> None:
        (toy.root / "toy/limits.py").write_text("MOST = 5\n", encoding="utf-8")
        price = toy.root / "toy/price.py"
        price.write_text(f"from toy.limits import MOST\n{SOURCE}", encoding="utf-8")
        (toy.root / "toy_tests/test_limits.py").write_text(
            "from toy.limits import MOST\n\n"
            "def test_most():\n    assert MOST == 5\n\ndef test_sum():\n    pass\n",
            encoding="utf-8",
        )
        (toy.root / "toy_tests/test_other.py").write_text("def test_other():\n    pass\n", encoding="utf-8")
        reached = self.reached(toy, by_change(mutants_of(toy))["MOST = 6"])
        assert set(reached) == {"test_most", "test_sum", "test_crossed", "test_counted_down"}


def test_verdicts(toy: Package) -> None:
    expected = {
        "return bid > ask": Verdict.SURVIVED,
        "steps -= 2": Verdict.NOTICED,
        "return price - 1 - 2": Verdict.SURVIVED,  # no test reaches it
    }
    mutants = by_change(mutants_of(toy))
    trials = Trials(toy, jobs=2)
    verdicts = trials.verdicts([mutants[change] for change in expected], trials.measure())
    assert {mutant.identity.becomes: verdict for mutant, verdict in verdicts} == expected


def test_what_does_not_end_is_ended(toy: Package) -> None:
    endless = by_change(mutants_of(toy))["steps += 1"]
    trials = Trials(toy, jobs=1, patience_s=0.1)
    assert list(trials.verdicts([endless], trials.measure())) == [(endless, Verdict.TIMEOUT)]


def test_tests_that_fail_by_themselves_are_no_measure(toy: Package) -> None:
    (toy.root / "toy_tests/test_price.py").write_text("def test():\n    assert False\n", encoding="utf-8")
    with pytest.raises(Unsound, match="assert False"):
        Trials(toy, jobs=1).measure()


class TestReport:
    """Of ten mutants, one survives."""

    @pytest.fixture
    def mutants(self, toy: Package) -> list[Mutant]:
        return mutants_of(toy)[:10]

    @pytest.fixture
    def survivor(self, mutants: list[Mutant]) -> Mutant:
        return mutants[0]

    @pytest.fixture
    def verdicts(self, mutants: list[Mutant], survivor: Mutant) -> dict[Mutant, Verdict]:
        return dict.fromkeys(mutants, Verdict.NOTICED) | {survivor: Verdict.SURVIVED}

    def test_a_survivor_is_reported(
        self, mutants: list[Mutant], survivor: Mutant, verdicts: dict[Mutant, Verdict]
    ) -> None:
        report = Report("toy", mutants, verdicts, {})
        assert list(report.lines()) == [f"survived: {survivor}"]
        assert report.row().split() == ["toy", "10", "10", "9", "0", "1", "0", "90.0"]
        assert report.good

    def test_below_the_target_is_not_good(
        self, mutants: list[Mutant], verdicts: dict[Mutant, Verdict]
    ) -> None:
        verdicts[mutants[1]] = Verdict.SURVIVED
        assert not Report("toy", mutants, verdicts, {}).good

    def test_a_survivor_with_a_reason_is_listed(
        self, mutants: list[Mutant], survivor: Mutant, verdicts: dict[Mutant, Verdict]
    ) -> None:
        report = Report("toy", mutants, verdicts, {survivor.identity: "it changes nothing"})
        assert list(report.lines()) == []
        assert report.row().split() == ["toy", "10", "10", "9", "0", "1", "1", "90.0"]
        assert report.good

    def test_a_reason_for_what_a_test_notices_is_wrong(
        self, mutants: list[Mutant], verdicts: dict[Mutant, Verdict]
    ) -> None:
        report = Report("toy", mutants, verdicts, {mutants[1].identity: "nobody notices"})
        assert f"reasons.toml: a test notices it: {mutants[1]}" in report.lines()
        assert not report.good

    def test_a_reason_for_what_is_gone_is_wrong(
        self, mutants: list[Mutant], verdicts: dict[Mutant, Verdict]
    ) -> None:
        gone = Identity("toy/price.py", "", "was", "becomes")
        report = Report(
            "toy", mutants, verdicts, {gone: "it is gone", gone._replace(file="other/a.py"): "else"}
        )
        assert [line for line in report.lines() if "no such mutant" in line] == [
            f"reasons.toml: there is no such mutant: {gone}"
        ]
        assert not report.good


def test_a_reason_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "reasons.toml"
    entry = '[[mutant]]\nfile = "a"\nscope = "b"\nwas = "c"\nbecomes = "d"\nreason = "{}"\n'
    path.write_text(entry.format("because"), encoding="utf-8")
    assert read_reasons(path) == {Identity("a", "b", "c", "d", 1): "because"}
    path.write_text(entry.format(" "), encoding="utf-8")
    with pytest.raises(ValueError, match="no reason"):
        read_reasons(path)
    path.write_text(entry.format("because") * 2, encoding="utf-8")
    with pytest.raises(ValueError, match="twice"):
        read_reasons(path)


OF_FEEDS = {
    f"tests/property/test_{name}.py"
    for name in ("recordings", "recorded_doubt", "vendor_recordings", "venue_adapters")
}
"""Of `depthcast/feed`, in which no mutants are made."""


def test_every_property_test_belongs_to_a_package() -> None:
    ours = {test for package in PACKAGES.values() for test in package.tests}
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/property").glob("test_*.py")}
    assert found - OF_FEEDS <= ours
    assert found >= OF_FEEDS
    assert all((ROOT / test).exists() for test in ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.deep] * (name != "broadcaster")) for name in PACKAGES]
)
def test_every_reason_belongs_to_a_mutant(name: str) -> None:
    reasons = read_reasons()
    mutants = mutants_of(PACKAGES[name], {identity.file for identity in reasons})
    assert list(wrong_reasons(reasons, name, mutants, [])) == []
