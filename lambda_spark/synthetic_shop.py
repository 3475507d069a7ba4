"""The shop of the generated month: its products with their brands and prices, and which of them will trend."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Texts = NDArray[np.str_]

DAYS = 30
BRANDS = 200
# A user looks at favourite brands for this share of the views; the rest explores, and only that follows trends.
LOYALTY = 0.5

# Products with such a share of the views have 15 to 25 events a day in the default month: enough to be seen growing.
_PLANTED, _PLANTED_SHARE, _PLANTED_GROWTH = 20, (0.0015, 0.0025), (3.5, 6.0)
_RAMP = np.array([0.8, 1.0, 1.2])
# Hardly anybody looks at a decoy until the last day, so that it tops the ranking by raw percentage.
_DECOYS, _DECOY_SHARE = 8, 0.003

_STEMS = ["nor", "tel", "ari", "kos", "mer", "vel", "san", "lum", "dax", "ost", "bel", "ran", "tor", "fen", "gal"]
_ENDINGS = ["vik", "amo", "ona", "tech", "line", "ex", "ia", "ora", "max", "una", "-hart", ".is", "eko", "us"]
_DEPARTMENTS = {
    "electronics": "smartphone audio.headphone clocks video.tv telephone tablet",
    "appliances": "kitchen.kettle kitchen.refrigerators kitchen.washer environment.vacuum iron personal.scales",
    "computers": "notebook desktop peripherals.mouse peripherals.printer components.memory",
    "apparel": "shoes shoes.keds shirt jeans costume underwear",
    "furniture": "living_room.sofa bedroom.bed kitchen.table living_room.cabinet",
    "construction": "tools.drill tools.saw tools.light tools.pump",
    "kids": "toys carriage swing dolls",
    "auto": "accessories.player accessories.alarm accessories.videoregister",
}


class Catalogue(NamedTuple):
    """The products, the most popular first. Each array has one value per product, or a row of them per day or week."""

    product_id: Texts
    category_id: Texts
    category_code: Texts
    brand: Texts
    brand_number: Ints  # 0: no brand
    week_price: Texts  # by week
    share: Floats  # of all views
    share_explored: Floats  # by day, of the views that explore
    planted: Ints  # the positions of the products with a trend


def make_catalogue(seed: int, products: int) -> Catalogue:
    """Return the shop with that many products; the same arguments give the same shop."""
    rng = default_rng([seed, 0])
    position = np.arange(products)
    share = _zipf(products, flatness=6)
    brand_number = rng.choice(np.arange(1, BRANDS + 1), products, p=_zipf(BRANDS, flatness=4))
    # Spread evenly over the popular and the rare, so that the shares of the events come out alike for each seed.
    brand_number[position % 7 == 3] = 0
    category_id, category_code = _categories(rng, brand_number, has_code=position * 7 % 20 >= 7)
    week_price = rng.lognormal(4, 1, products) * rng.choice([1, 1, 1, 0.95, 1.04], (DAYS // 7 + 1, products))
    can_trend = (share >= _PLANTED_SHARE[0]) & (share <= _PLANTED_SHARE[1]) & (brand_number > 0)
    planted = rng.permutation(np.flatnonzero(can_trend))[:_PLANTED]
    return Catalogue(
        product_id=(1_000_000 + rng.choice(60_000_000, products, replace=False)).astype(str),
        category_id=category_id,
        category_code=category_code,
        brand=np.array(["", *(stem + ending for ending in _ENDINGS for stem in _STEMS)])[brand_number],
        brand_number=brand_number,
        week_price=np.char.mod("%.2f", week_price),
        share=share,
        share_explored=_shares_explored(rng, share, planted),
        planted=planted,
    )


def _zipf(count: int, flatness: int) -> Floats:
    weight = 1 / (np.arange(count) + flatness)
    share: Floats = weight / weight.sum()
    return share


def _categories(rng: Generator, brand_number: Ints, has_code: NDArray[np.bool_]) -> tuple[Texts, Texts]:
    """Return each product's category id and code; a brand stays in one department, whose last category has no code."""
    codes = [[*(f"{name}.{code}" for code in codes.split()), ""] for name, codes in _DEPARTMENTS.items()]
    last = np.array([len(department) - 1 for department in codes])
    department = brand_number % len(codes)
    place = np.where(has_code, rng.integers(0, last[department]), last[department])
    category_id = 2_053_013_550_000_000_000 + (department * 10 + place) * 101_010_101
    return category_id.astype(str), np.array([codes[d][p] for d, p in zip(department, place, strict=True)])


def _shares_explored(rng: Generator, share: Floats, planted: Ints) -> Floats:
    """Return each product's share of the exploring views, by day."""
    shares = np.tile(share, (DAYS, 1))
    wanted = 1 + np.outer(_RAMP, rng.uniform(*_PLANTED_GROWTH, len(planted)) - 1)
    shares[-len(_RAMP) :, planted] *= (wanted - LOYALTY) / (1 - LOYALTY)
    decoys = rng.choice(np.arange(len(share) // 2, len(share)), _DECOYS, replace=False)
    shares[-1, decoys] = _DECOY_SHARE / (1 - LOYALTY)
    normalised: Floats = shares / shares.sum(axis=1, keepdims=True)
    return normalised
