"""How good the rules are: the evaluations that jobs/evaluate.py wrote, read for the page.

One made for this data root comes before the project's own in docs/. Where there is none, or one that cannot be read,
the page says so: a run never fails for it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, ValidationError, model_validator

from lambda_spark.report import words
from lambda_spark.settings import PROJECT_ROOT

DEFAULT_ORDER, DEFAULT_RANKING = "order relevance", "score, users"
"""What the settings come with, by the names that the evaluations give it."""
Interval = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
"""A value, and the ends of the interval that holds 95 % of the bootstrapped values."""
_Part = TypeVar("_Part", bound="_Figures")


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class Competitor(_Figures):
    """What a way to recommend 20 products reaches: the hit rate (HR@20), and NDCG@20."""

    hit_rate: Interval
    ndcg: Interval


class Lift(_Figures):
    """A competitor's value as so many times that of `over`, the best of the plain lists."""

    over: str
    times: Interval


class Lifts(_Figures):
    """The lift of a competitor by each measure."""

    hit_rate: Lift
    ndcg: Lift


class Backtest(_Figures):
    """Recommendations as of several instants, judged by what the users met next; figures by competitor."""

    cuts: int
    users: int
    competitors: dict[str, Competitor]
    lift: dict[str, Lifts]

    @model_validator(mode="after")
    def _names_are_known(self) -> "Backtest":
        lifts = self.lift.get(DEFAULT_ORDER)
        if lifts is None or not {DEFAULT_ORDER, lifts.hit_rate.over, lifts.ndcg.over} <= self.competitors.keys():
            raise ValueError(f"{DEFAULT_ORDER!r}, or what it is compared with, is missing.")
        return self


class Planted(_Figures):
    """Products by what was planted there: trends, and traps."""

    trend: FiniteFloat
    spam: FiniteFloat
    decoy: FiniteFloat
    rhythm: FiniteFloat


class Found(Planted):
    """Products that a ranking found; `none` are those where nothing had been planted."""

    none: FiniteFloat


class Ranking(_Figures):
    """What the first places of a ranking hold, on average over the weeks."""

    found_at_20: Found
    found_at_100: Found


class PlantedShop(_Figures):
    """Drawn weeks of a shop: what was planted in one on average, and what each ranking found."""

    weeks: int
    planted: Planted
    rankings: dict[str, Ranking]

    @model_validator(mode="after")
    def _default_is_there(self) -> "PlantedShop":
        if DEFAULT_RANKING not in self.rankings:
            raise ValueError(f"{DEFAULT_RANKING!r} is missing.")
        return self


@dataclass(frozen=True)
class Evaluation(Generic[_Part]):
    """The parts of an evaluation by title, none where there is none to show; a note on it, and what measures it."""

    parts: dict[str, _Part]
    note: str
    command: str


@dataclass(frozen=True)
class Quality:
    """The evaluation of recommendations and that of trends."""

    recommendations: Evaluation[Backtest]
    trends: Evaluation[PlantedShop]


def read_quality(local_root: Path, docs: Path = PROJECT_ROOT / "docs") -> Quality:
    """Read both evaluations: of `local_root`/evaluation, or else the project's own."""
    return Quality(
        recommendations=_read(local_root, docs, "recommendations", TypeAdapter(dict[str, Backtest])),
        trends=_read(local_root, docs, "trends", TypeAdapter(dict[str, PlantedShop])),
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
        return Evaluation({}, f"{shown} is no evaluation that can be shown. This measures it again:", command)
    made = "Measured here" if path == own else "Measured by the project on generated and public data, not on this run"
    return Evaluation(parts, f"{made}: {shown}. This measures it again:", command)
