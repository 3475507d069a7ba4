"""The evaluations of both rules, which jobs/evaluate.py writes as JSON: read for the page, and put into words.

An evaluation of this data root takes precedence over the project's own in docs/. If both are missing or unreadable, the
page says so: no file makes a run fail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from lambda_spark.report import words
from lambda_spark.settings import PROJECT_ROOT

# The names of the default settings, and of the original system's rule, in the evaluations.
DEFAULT_ORDER, DEFAULT_RANKING, TREND_RANK = "order relevance", "score, users", "trend-rank"

MEASURES: Mapping[str, str] = MappingProxyType({"hit_rate": "HR@20", "ndcg": "NDCG@20"})

# What was planted at a product that a ranking finds: a trend, a trap, or nothing.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "trend": "planted trend",
        "spam": "spam of one user",
        "decoy": "decoy of one day",
        "rhythm": "weekly rhythm",
        "none": "nothing planted",
    }
)

# A value, and the ends of the interval that contains 95 % of the bootstrapped values.
Interval = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Part = TypeVar("_Part", bound="_Figures")
_NO_BREAK = "\u00a0"


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class Competitor(_Figures):
    """The hit rate (HR@20) and NDCG@20 of one way to recommend 20 products."""

    hit_rate: Interval
    ndcg: Interval


class BaselineRatio(_Figures):
    """A competitor's value divided by the one of `over`, the best of the plain lists."""

    over: str
    times: Interval


class BaselineRatios(_Figures):
    """A competitor's ratio to the best plain list by each measure."""

    hit_rate: BaselineRatio
    ndcg: BaselineRatio


class Backtest(_Figures):
    """Recommendations as of several instants, judged by the products that users interact with next, by competitor."""

    cuts: int
    users: int
    competitors: dict[str, Competitor]
    ratio_to_best_baseline: dict[str, BaselineRatios] = Field(alias="lift")

    @model_validator(mode="after")
    def _check_names(self) -> "Backtest":
        ratios = self.ratio_to_best_baseline.get(DEFAULT_ORDER)
        if ratios is None or not {DEFAULT_ORDER, ratios.hit_rate.over, ratios.ndcg.over} <= self.competitors.keys():
            raise ValueError(f"{DEFAULT_ORDER!r} or its best plain list is missing.")
        return self


class Planted(_Figures):
    """Counts of products by what was planted there: trends, and traps."""

    trend: FiniteFloat
    spam: FiniteFloat
    decoy: FiniteFloat
    rhythm: FiniteFloat


class Found(Planted):
    """Counts of products that a ranking found; `none` are those where nothing was planted."""

    none: FiniteFloat


class Ranking(_Figures):
    """The products in the first places of a ranking, as means of the weeks."""

    found_at_20: Found
    found_at_100: Found


class PlantedShop(_Figures):
    """Drawn weeks of a shop: the mean counts of planted products, and those that each ranking found."""

    weeks: int
    planted: Planted
    rankings: dict[str, Ranking]

    @model_validator(mode="after")
    def _check_default(self) -> "PlantedShop":
        if DEFAULT_RANKING not in self.rankings:
            raise ValueError(f"{DEFAULT_RANKING!r} is missing.")
        return self


@dataclass(frozen=True)
class Evaluation(Generic[_Part]):
    """The parts of an evaluation by title, a note on its source, and the command that measures it again."""

    parts: dict[str, _Part]
    note: str
    command: str


@dataclass(frozen=True)
class Quality:
    """The evaluation of recommendations and that of trends."""

    recommendations: Evaluation[Backtest]
    trends: Evaluation[PlantedShop]


def read_quality(local_root: Path, docs: Path = PROJECT_ROOT / "docs") -> Quality:
    """Read both evaluations from `local_root`/evaluation, or else from the project's own."""
    return Quality(
        recommendations=_read(local_root, docs, "recommendations", TypeAdapter(dict[str, Backtest])),
        trends=_read(local_root, docs, "trends", TypeAdapter(dict[str, PlantedShop])),
    )


def label(competitor: str) -> str:
    """Return the name of a competitor or a ranking, marked if it is the default."""
    return words.clean(competitor) + (" (default)" if competitor in (DEFAULT_ORDER, DEFAULT_RANKING) else "")


def figure(measure: str, value: float) -> str:
    """Return a value of a measure: a hit rate in %, NDCG with three decimals."""
    return f"{100 * value:.1f}{_NO_BREAK}%" if measure == "hit_rate" else f"{value:.3f}"


def ends(measure: str, figures: Interval) -> str:
    """Return the ends of an interval: 56.7 to 58.0 %."""
    low, high = (figure(measure, end) for end in figures[1:])
    return f"{low.removesuffix(f'{_NO_BREAK}%')} to {high}"


def by_value(backtest: Backtest, measure: str) -> dict[str, Interval]:
    """Return the figures of each competitor, the largest value first."""
    found = {name: getattr(figures, measure) for name, figures in backtest.competitors.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def by_trends(shop: PlantedShop) -> dict[str, Ranking]:
    """Return the rankings, the one that finds the most planted trends first."""
    return dict(sorted(shop.rankings.items(), key=lambda item: -item[1].found_at_20.trend))


def verdict(backtest: Backtest, measure: str) -> str:
    """Return sentences: whether the default order or the best plain list wins and by how much, then the others."""
    values = {name: figure(measure, figures[0]) for name, figures in by_value(backtest, measure).items()}
    ratio: BaselineRatio = getattr(backtest.ratio_to_best_baseline[DEFAULT_ORDER], measure)
    default, best, over = values[DEFAULT_ORDER], values[ratio.over], words.clean(ratio.over)
    value, *both = (100 * abs(times - 1) for times in ratio.times)
    by = f"{value:.0f}{_NO_BREAK}% {{}} (95{_NO_BREAK}% interval: {min(both):.0f} to {max(both):.0f}{_NO_BREAK}%)"
    if ratio.times[1] > 1:
        won = f"the default order wins: it has {default}, {over} {best}. That is {by.format('more')}."
    elif ratio.times[2] < 1:
        won = f"{over} wins: it has {best}, the default order {default}. That is {by.format('less')}."
    else:
        won = f"{over} ({best}) and the default order ({default}) cannot be told apart."
    return " ".join([f"By {MEASURES[measure]}, {won}", *_others(values, ratio.over)])


def _others(values: Mapping[str, str], over: str) -> list[str]:
    """Return sentences: the value of trend-rank, and the best competitor if it isn't one of the two compared."""
    best = next(iter(values))
    original = [f"The rule trend-rank has {values[TREND_RANK]}."] if TREND_RANK in values else []
    if best in (DEFAULT_ORDER, over):
        return original
    return [*original, f"“{words.clean(best)}” has the most, {values[best]}."]


class KindCounts(NamedTuple):
    """Planted against found products of a kind, as means of a week: in the first 20 places, and in the next 80.

    None is a count that does not apply, since nothing was planted.
    """

    label: str
    planted: float | None
    found_at_20: float
    found_next: float
    missed: float | None


def confusion(shop: PlantedShop) -> list[KindCounts]:
    """Return for each kind how many products are planted, and where the default ranking finds them."""
    found = shop.rankings[DEFAULT_RANKING]
    rows = []
    for kind, label in KINDS.items():
        planted = getattr(shop.planted, kind, None)
        first, all_found = getattr(found.found_at_20, kind), getattr(found.found_at_100, kind)
        missed = None if planted is None else planted - all_found
        rows.append(KindCounts(label, planted, first, all_found - first, missed))
    return rows


def mean_count(count: float | None) -> str:
    """Return a mean count with one decimal."""
    return words.NOTHING if count is None else f"{count:,.1f}"


def found_and_missed(shop: PlantedShop) -> str:
    """Return sentences: how many of the planted trends the default ranking finds and misses."""
    found, planted = shop.rankings[DEFAULT_RANKING], shop.planted.trend
    first, both = found.found_at_20.trend, found.found_at_100.trend
    return (
        f"{first:.1f} of the first 20 places of the default ranking hold a planted trend, {20 - first:.1f} do not. "
        f"Of the {planted:.0f} planted trends {planted - first:.1f} are missed there, and {planted - both:.1f} by the "
        "first 100 places."
    )


def planted_here(shown: Sequence[int], planted: frozenset[int]) -> str:
    """Return a sentence: how many of the displayed trends were planted in the generated events."""
    return (
        f"This run's events are generated, with {len(planted)} planted trends in the last three days of the month: "
        f"{len(planted.intersection(shown))} of the {len(shown)} trends above are planted ones; their charts say so."
    )


def _read(local_root: Path, docs: Path, what: str, kind: TypeAdapter[dict[str, _Part]]) -> Evaluation[_Part]:
    own = local_root / "evaluation" / f"{what}.json"
    path = own if own.is_file() else docs / f"evaluation-{what}.json"
    command = f"python jobs/evaluate.py {what} --output {words.from_here(own)}"
    shown = words.from_here(path)
    try:
        parts = kind.validate_json(path.read_bytes())
    except FileNotFoundError:
        return Evaluation({}, "Not measured yet. This measures it:", command)
    except (OSError, ValidationError):
        return Evaluation({}, f"{shown} isn't an evaluation that can be shown. This measures it again:", command)
    made = "Measured here" if path == own else "Measured by the project on generated and public data, not on this run"
    return Evaluation(parts, f"{made}: {shown}. This measures it again:", command)
