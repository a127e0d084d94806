"""Parameters of the synthetic venues: measured profiles, their distributions, and the built-in symbols."""

import math
from random import Random
from typing import Final, NamedTuple

from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol


class Profile(NamedTuple):
    """Parameters of a venue. Distances are from the touch, in basis points (bp) of the price.

    - `rate`: events per second.
    - `density`: orders per bp and side, out to `reach_bp`.
    - `knee_bp`: arrivals are spread evenly up to this distance and fall beyond it.
    - `touch`: share of arrivals that join the best price; `queue`: number of orders at the best price.
    - `beyond`: share of arrivals beyond `reach_bp`.
    - `amended`: share of orders that end in an amendment instead of a cancel.
    - `trades`: share of market orders.
    - `volatility_bp`: of the price, per square root of a second.
    - `size`: median of an order in quote currency; `growth`: exponent of its growth with the distance;
      `touch_size`: factor of the size at the touch.
    - `gap_ticks`: about the mean spread minus one tick.
    """

    rate: float
    density: float
    knee_bp: float
    reach_bp: float
    touch: float
    queue: float
    beyond: float
    amended: float
    trades: float
    volatility_bp: float
    size: float
    growth: float
    touch_size: float
    gap_ticks: float = 0.0


SPOT_BTC: Final = Profile(
    rate=388,
    density=30,
    knee_bp=0.6,
    reach_bp=32,
    touch=0.08,
    queue=20,
    beyond=0.04,
    amended=0.1,
    trades=0.04,
    volatility_bp=1.2,
    size=5000,
    growth=0.0,
    touch_size=5,
)
SPOT_ETH: Final = Profile(
    rate=375,
    density=18,
    knee_bp=0.6,
    reach_bp=45,
    touch=0.06,
    queue=5,
    beyond=0.03,
    amended=0.43,
    trades=0.03,
    volatility_bp=1.2,
    size=3800,
    growth=0.25,
    touch_size=2,
)
PERP_ETH: Final = Profile(
    rate=430,
    density=13,
    knee_bp=1.6,
    reach_bp=42,
    touch=0.04,
    queue=4,
    beyond=0.04,
    amended=0.4,
    trades=0.02,
    volatility_bp=1.28,
    size=1500,
    growth=0.9,
    touch_size=4,
)

# Not measured: for variety.
WIDE: Final = SPOT_ETH._replace(rate=200, density=5, volatility_bp=2.0, size=1500, gap_ticks=2.5)
LARGE_TICK: Final = SPOT_ETH._replace(rate=150, density=6, touch=0.2, queue=25, volatility_bp=1.8, size=1000)

FAR_BP: Final = 500.0
"""Greatest distance of an order."""

FLEETING: Final = 0.7
"""Share of short-lived orders, which last `FLEETING_LIFE` of the mean; the others last longer."""

FLEETING_LIFE: Final = 0.2

DUST: Final = (0.15, 10.0, 0.5)
"""Share of tiny orders, their median in quote currency and sigma of its logarithm."""

SIZE_SIGMA: Final = 1.2
"""Sigma of the logarithm of all other sizes."""

GROWTH_ENDS_BP: Final = 10.0
"""Distance up to which sizes grow."""


class DistanceLaw:
    """Distances at which orders arrive, and how long they last in units of the mean time between arrivals."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._core = 1 - profile.touch - profile.beyond
        self._span = math.log1p(profile.reach_bp / profile.knee_bp)
        self._far_span = math.log(FAR_BP / profile.reach_bp)
        # Little's law: arrivals per bp and side × life = density.
        self._life_per_bp = 2 * profile.density * self._span / self._core
        self._touch_life = 2 * profile.queue / profile.touch
        self._far_density = profile.density * profile.beyond / self._core * self._span / self._far_span

    def orders_expected(self) -> int:
        """Return the mean number of resting orders, both sides together."""
        return 2 * sum(count for count, _, _ in self._zones())

    def away(self, random: Random) -> float:
        """Draw the distance of the next order from the touch, in bp."""
        draw, share = random.random(), random.random()
        profile = self.profile
        if draw < profile.touch:
            return 0.0
        if draw < profile.touch + profile.beyond:
            return profile.reach_bp * math.exp(self._far_span * share)
        return profile.knee_bp * math.expm1(self._span * share)

    def life(self, random: Random, away_bp: float) -> float:
        """Draw how long an order rests before it is cancelled or amended: a mixture of short and long."""
        fleeting = random.random() < FLEETING
        share = FLEETING_LIFE if fleeting else (1 - FLEETING * FLEETING_LIFE) / (1 - FLEETING)
        return random.expovariate(1.0) * share * self._mean_life(away_bp) * (1 - self.profile.amended)

    def size(self, random: Random, away_bp: float) -> float:
        """Draw the value of an order in quote currency."""
        dust, median, sigma = DUST
        if random.random() < dust:
            return median * math.exp(sigma * random.gauss(0, 1))
        profile = self.profile
        factor = (1 + min(away_bp, GROWTH_ENDS_BP)) ** profile.growth if away_bp else profile.touch_size
        return profile.size * factor * math.exp(SIZE_SIGMA * random.gauss(0, 1))

    def opening(self, random: Random) -> list[tuple[float, float]]:
        """Draw (distance, remaining life) of the orders of one side after a long run."""
        found = []
        for count, low, high in self._zones():
            for _ in range(count):
                away = low + (high - low) * random.random()
                # At a given moment, an order is resting with a chance in proportion to its life.
                share = FLEETING_LIFE
                if random.random() >= FLEETING * FLEETING_LIFE:
                    share = (1 - FLEETING * FLEETING_LIFE) / (1 - FLEETING)
                life = random.expovariate(1.0) * share * self._mean_life(away) * (1 - self.profile.amended)
                found.append((away, life))
        return found

    def _zones(self) -> list[tuple[int, float, float]]:
        """Return (orders per side, from bp, to bp) of the touch, the reach and beyond."""
        profile = self.profile
        return [
            (round(profile.queue), 0.0, 0.0),
            (round(profile.density * profile.reach_bp), 0.0, profile.reach_bp),
            (round(self._far_density * (FAR_BP - profile.reach_bp)), profile.reach_bp, FAR_BP),
        ]

    def _mean_life(self, away_bp: float) -> float:
        if not away_bp:
            return self._touch_life
        return self._life_per_bp * (away_bp + self.profile.knee_bp)


class MarketSymbol(NamedTuple):
    """A built-in symbol; `mid` is its price at the start, in ticks."""

    instrument: Instrument
    mid: int
    profile: Profile


def _market(*rows: tuple[str, str, str, Feed, int, Profile]) -> dict[Symbol, MarketSymbol]:
    return {
        Symbol(name): MarketSymbol(Instrument(Symbol(name), tick_size, lot_size, feed), mid, profile)
        for name, tick_size, lot_size, feed, mid, profile in rows
    }


MARKET: Final = _market(
    ("BTC-USD", "0.01", "0.00001", Feed.LEVELS, 6_183_764, SPOT_BTC),
    ("ETH-USD", "0.01", "0.0001", Feed.ORDERS, 268_380, SPOT_ETH),
    ("ETH-PERP", "0.01", "0.001", Feed.LEVELS, 268_217, PERP_ETH),
    ("SOL-USD", "0.001", "0.001", Feed.LEVELS, 152_000, WIDE),
    ("LTC-USD", "0.001", "0.001", Feed.ORDERS, 61_500, WIDE),
    ("XRP-USD", "0.0001", "0.1", Feed.ORDERS, 6_100, LARGE_TICK),
)
"""The built-in symbols, by name."""


def quantity_of(instrument: Instrument, mid: int) -> float:
    """Lots that one unit of quote currency buys at `mid` ticks."""
    return 1 / (mid * float(instrument.tick_size) * float(instrument.lot_size))
