"""The windows that answers are about: counted once from all that is known, and kept for as long as they are current."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any, NamedTuple

import pyarrow as pa

from lambda_spark import deadlines, words
from lambda_spark.activity import count_here
from lambda_spark.api.known import Asked, Known
from lambda_spark.merged_activity import bucket_counts
from lambda_spark.met_products import MetProducts, read_met
from lambda_spark.recommendations import RecommendationRule
from lambda_spark.settings import Settings
from lambda_spark.single_user import Shelf, shelf_of
from lambda_spark.time_ranges import parse_bucket
from lambda_spark.trend_windows import trend_rule, trends_of
from lambda_spark.window_counts import columns_read

_KEPT = 16


class Evidence(NamedTuple):
    """What an answer says of a candidate, whoever asks: as JSON has it, and of its trend in words."""

    values: dict[str, Any]
    trend: str


@dataclass(frozen=True)
class Window:
    """A window as recommendations need it: the candidates, their evidence, and who has met them."""

    asked: Asked
    shelf: Shelf
    evidence: list[Evidence]
    met: MetProducts


class Windows:
    """Counts and windows by what was asked; one is computed at a time, and the least recently used are forgotten."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = RLock()

    def counts(self, known: Known, asked: Asked) -> pa.Table:
        """Return the counts of a window, one row per (bucket_at, product_id)."""
        return self._current(("counts", asked), known.token(asked.range), lambda: self._count(known, asked))

    def window(self, known: Known, asked: Asked) -> Window:
        """Return the window, ready for one user at a time."""
        token = known.token(asked.range)
        window: Window = self._current(("window", asked), token, lambda: self._prepare(known, asked))
        return window

    def _current(self, key: Hashable, token: Hashable, compute: Callable[[], Any]) -> Any:
        if not self._lock.acquire(timeout=deadlines.seconds_left()):
            raise deadlines.too_slow()
        try:
            found = self._kept.get(key)
            if found is None or found[0] != token:
                self._kept[key] = found = (token, compute())
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        finally:
            self._lock.release()
        return found[1]

    def _count(self, known: Known, asked: Asked) -> pa.Table:
        settings, size = self._settings, parse_bucket(asked.bucket)
        columns = columns_read(trend_rule(settings.trends).weights)
        return bucket_counts(count_here, settings.data_root, known.counts, asked.known_range(), size, columns)

    def _prepare(self, known: Known, asked: Asked) -> Window:
        settings = self._settings
        trends = trends_of(self.counts(known, asked), settings.trends, [asked.range], asked.bucket)
        rule = RecommendationRule(**settings.recommendations.model_dump())
        shelf = shelf_of(trends, rule, settings.brands.limit)
        products = shelf.candidates["product_id"].combine_chunks()
        met = read_met(known.counts.events, asked.known_range(), products, rule.leave_out)
        return Window(asked, shelf, [_evidence(row) for row in shelf.candidates.to_pylist()], met)


def _evidence(row: Mapping[str, Any]) -> Evidence:
    told = {name: row[name] for name in ("brand", "trend_rank", "trend_score", "total_pct_increase")}
    trend = words.trend_reason(row["total_pct_increase"], row["window_to"] - row["window_from"], row["trend_rank"])
    return Evidence({"product_id": str(row["product_id"]), **told}, trend)
