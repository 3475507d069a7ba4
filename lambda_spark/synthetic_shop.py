"""The shop of a generated month: its products with their brands and prices, and which of them will trend."""

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Texts = NDArray[np.str_]

DAYS = 30
# A user looks at favourite brands for this share of the views; the rest explores, and only that follows trends.
LOYALTY = 0.5

# Shares of the views in units of the mean product's. Those with a trend have 15 to 25 events a day in the default
# month: enough to be seen growing.
_PLANTED_SHARE, _PLANTED_GROWTH = (4.5, 7.5), (3.5, 6.0)
_PRODUCTS_PER_PLANTED, _MOST_PLANTED = 150, 300
_RAMP = np.array([0.8, 1.0, 1.2])
# Hardly anybody looks at a decoy until the last day, so that it tops the ranking by raw percentage.
_PRODUCTS_PER_DECOY, _MOST_DECOYS, _DECOY_SHARE = 375, 100, 9.0

_PREFIXES = ["", *(f"{first}{second}" for first, second in product("bcdglmprs", "aeiou"))]
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
# A large shop divides its categories further.
_KINDS = ["", ".basic", ".home", ".office", ".travel", ".outdoor", ".compact", ".classic", ".premium", ".refurbished"]


class ShopSize(NamedTuple):
    """How large a shop is; `kinds` is the number of parts that each category has."""

    products: int
    brands: int = 200
    kinds: int = 1


class Catalogue(NamedTuple):
    """The products, the most popular first. Each array has one value per product, or a row of them per week."""

    product_id: Texts
    category_id: Texts
    category_code: Texts
    brand: Texts
    brand_number: Ints  # 0: no brand
    week_price: Texts  # by week
    share: Floats  # of all views
    planted: Ints  # the positions of the products with a trend
    planted_growth: Floats  # by how much each of them grows
    decoys: Ints  # the positions of the decoys
    brands: int


@cache
def make_catalogue(seed: int, size: ShopSize) -> Catalogue:
    """Return the shop of that size; the same arguments give the same shop."""
    rng, products = default_rng([seed, 0]), size.products
    position = np.arange(products)
    share = _zipf(products, flatness=6)
    brand_number = rng.choice(np.arange(1, size.brands + 1), products, p=_zipf(size.brands, flatness=4))
    # Spread evenly over the popular and the rare, so that the shares of the events come out alike for each seed.
    brand_number[position % 7 == 3] = 0
    category_id, category_code = _categories(rng, brand_number, position, size.kinds)
    week_price = rng.lognormal(4, 1, products) * rng.choice([1, 1, 1, 0.95, 1.04], (DAYS // 7 + 1, products))
    low, high = (times / products for times in _PLANTED_SHARE)
    can_trend = np.flatnonzero((share >= low) & (share <= high) & (brand_number > 0))
    planted = rng.permutation(can_trend)[: min(products // _PRODUCTS_PER_PLANTED, _MOST_PLANTED)]
    decoys = min(products // _PRODUCTS_PER_DECOY, _MOST_DECOYS)
    return Catalogue(
        product_id=(1_000_000 + rng.choice(60_000_000, products, replace=False)).astype(str),
        category_id=category_id,
        category_code=category_code,
        brand=_brand_names(size.brands)[brand_number],
        brand_number=brand_number,
        week_price=np.char.mod("%.2f", week_price),
        share=share,
        planted=planted,
        planted_growth=rng.uniform(*_PLANTED_GROWTH, len(planted)),
        decoys=rng.choice(np.arange(products // 2, products), decoys, replace=False),
        brands=size.brands,
    )


def explored_shares(catalogue: Catalogue, day: int) -> Floats:
    """Return each product's share of the views of a day (0 is the 1st) that explore."""
    shares = catalogue.share.copy()
    into_ramp = day - (DAYS - len(_RAMP))
    if into_ramp >= 0:
        wanted = 1 + _RAMP[into_ramp] * (catalogue.planted_growth - 1)
        shares[catalogue.planted] *= (wanted - LOYALTY) / (1 - LOYALTY)
    if day == DAYS - 1:
        shares[catalogue.decoys] = _DECOY_SHARE / len(shares) / (1 - LOYALTY)
    normalised: Floats = shares / shares.sum()
    return normalised


def _zipf(count: int, flatness: int) -> Floats:
    weight = 1 / (np.arange(count) + flatness)
    share: Floats = weight / weight.sum()
    return share


def _brand_names(brands: int) -> Texts:
    names = (prefix + stem + ending for prefix, ending, stem in product(_PREFIXES, _ENDINGS, _STEMS))
    return np.array(["", *names])[: brands + 1]


def _categories(rng: Generator, brand_number: Ints, position: Ints, kinds: int) -> tuple[Texts, Texts]:
    """Return each product's category id and code; a brand stays in one department, whose last category has no code."""
    codes = [[*(f"{name}.{code}" for code in codes.split()), ""] for name, codes in _DEPARTMENTS.items()]
    last = np.array([len(department) - 1 for department in codes])
    department = brand_number % len(codes)
    has_code = position * 7 % 20 >= 7
    place = np.where(has_code, rng.integers(0, last[department]), last[department])
    kind = np.where(has_code, position % kinds, 0)
    category_id = 2_053_013_550_000_000_000 + (kind * 100 + department * 10 + place) * 101_010_101
    names = [codes[d][p] + _KINDS[k] for d, p, k in zip(department, place, kind, strict=True)]
    return category_id.astype(str), np.array(names)
