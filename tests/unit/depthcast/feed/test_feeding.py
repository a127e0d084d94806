"""Names and sizes of what is fed."""

import pytest

from depthcast.feed.feeding import (
    Feeding,
    FeedRefused,
    book_name,
    check_registered,
    choose,
    dividing_both,
    feedings,
    following,
    plain,
    relist_command,
    same_sizes,
    sizes_fit,
)
from depthcast.feed.venue import Sizes
from depthcast.shared.errors import InstrumentsError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol


@pytest.mark.parametrize(
    ("venue_symbol", "name"),
    [("BTC/USD", "BTC-USD"), ("BTCUSDT", "BTCUSDT"), ("BTC-USDT-SWAP", "BTC-USDT-SWAP"), ("a:b", "a-b")],
)
def test_a_book_is_named_as_its_symbol(venue_symbol: str, name: str) -> None:
    assert book_name(venue_symbol) == name


def test_names_may_be_given() -> None:
    assert choose("v", ["A/B", "C", "C"], {"C": "X"}) == {"A/B": "A-B", "C": "X"}
    assert choose("v", ["A/B"], {"": "X"}) == {"A/B": "X"}


@pytest.mark.parametrize(
    ("symbols", "renames", "problem"),
    [
        (["A", "B"], {"": "X"}, "exactly one"),
        (["A"], {"B": "X"}, "not among"),
        (["A/B", "A-B"], {}, "two symbols"),
        (["/A"], {}, "--as /A=NEW"),
        (["A" * 33], {}, "no symbol here"),
    ],
)
def test_names_that_do_not_do_are_refused(symbols: list[str], renames: dict[str, str], problem: str) -> None:
    with pytest.raises(FeedRefused, match=problem):
        choose("v", symbols, renames)


def test_sizes_are_those_of_the_venue() -> None:
    (found,) = feedings("V", {"A/B": Symbol("A-B")}, {"A/B": Sizes("1E-3", "0.50")})
    assert found == Feeding("A/B", Instrument(Symbol("A-B"), "0.001", "0.5"))


def test_an_unknown_symbol_is_refused_with_similar_ones() -> None:
    with pytest.raises(FeedRefused, match="V lists no btcusd; similar: BTCUSDT"):
        feedings("V", {"btcusd": Symbol("btcusd")}, {"BTCUSDT": Sizes("1", "1"), "X": Sizes("1", "1")})


@pytest.mark.parametrize(
    ("size", "written"),
    [
        ("0.01", "0.01"),
        ("0.0100", "0.01"),
        ("1E-7", "0.0000001"),
        ("5", "5"),
        ("1e2", "100"),
        ("2.50", "2.5"),
    ],
)
def test_sizes_are_written_plainly(size: str, written: str) -> None:
    assert plain(size) == written


@pytest.mark.parametrize(
    ("tick_size", "lot_size"), [("0.1", "0.001"), ("0.05", "0.001"), ("0.1", "0.0001"), ("0.01", "0.0005")]
)
def test_registered_sizes_may_be_finer(tick_size: str, lot_size: str) -> None:
    check_registered(FED, Instrument(Symbol("A"), tick_size, lot_size))


@pytest.mark.parametrize(
    "registered",
    [
        Instrument(Symbol("A"), "1", "0.001"),
        Instrument(Symbol("A"), "0.1", "0.01"),
        Instrument(Symbol("A"), "0.03", "0.001"),
        Instrument(Symbol("A"), "0.1", "0.001", Feed.ORDERS),
    ],
)
def test_other_registered_sizes_are_refused(registered: Instrument) -> None:
    with pytest.raises(InstrumentsError, match="--as a=NEW"):
        check_registered(FED, registered)


def test_sizes_that_the_venue_had_before_may_be_registered_yet() -> None:
    registered = sized("1", "0.01")
    check_registered(FED, registered, sized("1.0", "0.01"))
    with pytest.raises(InstrumentsError, match=r"depthcast instruments set A --tick-size 0\.1 .* --relist"):
        check_registered(FED, registered, sized("1", "0.02"))
    with pytest.raises(InstrumentsError, match="orders"):
        check_registered(FED, registered._replace(feed=Feed.ORDERS), sized("1", "0.01"))


@pytest.mark.parametrize(
    ("registered", "before", "now", "wanted"),
    [
        (("0.01", "1"), ("0.01", "1"), ("0.01", "1"), ("0.01", "1")),  # nothing has changed
        (("0.010", "1"), ("0.01", "1"), ("0.01", "1.0"), ("0.010", "1")),
        (("0.01", "1"), ("0.01", "1"), ("0.001", "1"), ("0.001", "1")),  # finer
        (("0.01", "1"), ("0.01", "1"), ("0.05", "1"), ("0.05", "1")),  # coarser
        (("0.01", "1"), ("0.01", "1"), ("0.01", "0.1"), ("0.01", "0.1")),
        (("0.02", "1"), ("0.02", "1"), ("0.05", "10"), ("0.05", "10")),
        (("0.001", "1"), ("0.01", "1"), ("0.05", "1"), ("0.001", "1")),  # somebody's choice, which fits
        (("0.001", "1"), ("0.01", "1"), ("0.0001", "1"), ("0.0001", "1")),  # one that does not fit
        (("0.001", "1"), ("0.01", "1"), ("0.01", "0.5"), ("0.001", "0.5")),
        (("0.01", "1"), None, ("0.05", "1"), ("0.01", "1")),  # unknown whose choice it was
        (("0.01", "1"), None, ("0.005", "1"), ("0.005", "1")),
    ],
)
def test_a_listing_follows_the_venues_sizes(
    registered: tuple[str, str],
    before: tuple[str, str] | None,
    now: tuple[str, str],
    wanted: tuple[str, str],
) -> None:
    known = None if before is None else sized(*before)
    assert following(sized(*registered), known, sized(*now)) == sized(*wanted)


def test_sizes_that_divide_both() -> None:
    assert dividing_both(sized("0.05", "10"), sized("0.02", "1")) == sized("0.01", "1")
    assert same_sizes(sized("0.010", "1"), sized("0.01", "1.0"))
    assert not same_sizes(sized("0.01", "1"), sized("0.01", "10"))
    assert sizes_fit(sized("0.05", "10"), sized("0.01", "5"))
    assert not sizes_fit(sized("0.01", "10"), sized("0.05", "5"))
    assert not sizes_fit(sized("0.05", "5"), sized("0.01", "10"))


def test_the_command_is_one_that_can_be_run() -> None:
    assert relist_command(sized("0.05", "10")) == (
        "depthcast instruments set A --tick-size 0.05 --lot-size 10 --relist"
    )
    assert relist_command(sized("0.05", "10"), "x").endswith(" --relist --prefix x")


def sized(tick_size: str, lot_size: str) -> Instrument:
    return Instrument(Symbol("A"), tick_size, lot_size)


FED = Feeding("a", Instrument(Symbol("A"), "0.1", "0.001"))
