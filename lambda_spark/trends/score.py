"""The trend rule: which products trend in a window, ranked by a score, by the percentage, or by events.

The percentage is the original system's figure, of the events e1 … en of a product's buckets, weighted by type:

    total_pct_increase = 100 (en - e1) / e1                      NULL and is_new if e1 = 0

The score, growth and z are of the counts c1 … cn: the distinct users of each bucket, or the same events.

    trend_score        = ln((r/h + a) / (b/m + a))               growth_pct = 100 (e^score - 1)
    z                  = (r - E) / sqrt(r + (h/m)² b + 1 + φ (r²/h + E²/m))        with E = (h/m) b

Each count is first divided by the shop's level in its bucket, so that a change of the whole shop isn't a trend; the
level is the bucket's total over the mean of the buckets in which the shop had an event. b and r are the sums of these
counts over the baseline (the first m buckets) and the recent ones (the last h = round(3n/7)); buckets without any event
of the shop count in neither. a is the smoothing, in users or events per bucket. φ is the over-dispersion: the median
over the ranked products of (variance - mean) / mean², at least 0. z is the normal approximation of the difference of
two over-dispersed (negative binomial) counts. If users count, a product that never had two of them in one bucket isn't
ranked: the events of a single user aren't a trend. docs/adr/0019-trends-of-distinct-users.md has the reasons.

Computed with NumPy, without Spark: a window has few counts beside its events, so that any window takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lambda_spark.time_ranges import TimeRange, parse_bucket
from lambda_spark.trends.windows import INSTANT, Indices, Numbers, WindowCounts, window_counts

if TYPE_CHECKING:
    from lambda_spark.settings import TrendSettings

# The default smoothing is the shop's mean count per bucket over this, within these bounds: 10 from 10,000 on.
_COUNT_PER_SMOOTHING = 1_000
_SMOOTHING_BOUNDS = (1.0, 10.0)

# The default support: a product is ranked if its count in the window is at least this many times the smoothing.
_SUPPORT_PER_SMOOTHING = 8
_CONFIRMED_Z, _EMERGING_Z = 3, 2

# The most cells, products by buckets, of a matrix in memory: some 16 MB, however fine the buckets.
_CELLS = 2_000_000
_BUCKET = pa.struct([("bucket_at", INSTANT), ("event_count", pa.float64())])


@dataclass(frozen=True)
class TrendRule:
    """How trends are ranked; `smoothing` follows the shop's size if it is None.

    Score and z are computed from `count_by`: users, the distinct ones, or events. A product is ranked if it has at
    least `min_events` events in the window or, if that is None, a count that follows the smoothing. `recent_share` is
    the part of the window that is compared with the rest.
    """

    rank_by: str
    count_by: str
    top: int
    weights: Mapping[str, float]
    smoothing: float | None = None
    min_events: int | None = None
    recent_share: float = 3 / 7


def trends(activity: pa.Table, window: TimeRange, size: timedelta, bucket: str, rule: TrendRule) -> pa.Table:
    """Rank the products of a window with buckets of that size, named `bucket`. One row per product_id, schemas.TRENDS.

    `activity` has one row per (bucket_at, product_id) with the columns of windows.columns_read; rows outside the window
    are skipped.
    """
    counts = window_counts(activity, window, size)
    events, users = counts.weighted(rule.weights), counts.column("user_count")
    count = users if rule.count_by == "users" else events
    shop = counts.summed_by_bucket(count)
    mean = shop[shop > 0].mean() if shop.any() else np.nan
    low, high = _SMOOTHING_BOUNDS
    smoothing = rule.smoothing or min(max(mean / _COUNT_PER_SMOOTHING, low), high)
    # Without any count of the shop there is no trend.
    products = np.flatnonzero(_is_supported(counts, events, count, rule, smoothing) & shop.any())
    figures = _event_figures(counts, events, products)
    figures |= _figures(counts, count, products, np.where(shop > 0, shop / mean, np.nan), rule.recent_share, smoothing)
    figures |= {"total": counts.summed_by_product(count)[products]}
    best = _best_first(figures, counts.product_ids[products], rule)
    shown, chosen = {name: values[best] for name, values in figures.items()}, products[best]
    return pa.table(
        {
            "window_from": pa.repeat(pa.scalar(window.start, INSTANT), len(best)),
            "window_to": pa.repeat(pa.scalar(window.end, INSTANT), len(best)),
            "bucket": pa.repeat(bucket, len(best)),
            "rank": pa.array(np.arange(1, len(best) + 1), pa.int32()),
            "product_id": counts.product_ids[chosen],
            **{name: counts.newest(name, chosen) for name in ("brand", "category_code")},
            "buckets": _buckets(counts.spread(events, chosen), counts.starts),
            "event_count": shown["event_count"],
            "user_count": counts.summed_by_product(users)[chosen].astype(np.int64),
            "total_pct_increase": _null_if_nan(shown["total_pct_increase"]),
            "is_new": shown["first"] == 0,
            **{name: _null_if_nan(shown[name]) for name in ("trend_score", "growth_pct", "z")},
            "confidence": _confidence(shown["z"]),
        }
    )


def trends_of(counts: pa.Table, settings: TrendSettings, windows: Sequence[TimeRange], bucket: str) -> pa.Table:
    """Rank the products of several windows by the settings. One row per (window, product_id), schemas.TRENDS.

    `counts` has one row per (bucket_at, product_id).
    """
    size, rule = parse_bucket(bucket), trend_rule(settings)
    return pa.concat_tables(trends(counts, window, size, bucket, rule) for window in windows)


def trend_rule(settings: TrendSettings) -> TrendRule:
    """Return the rule of the settings."""
    return TrendRule(**settings.model_dump(exclude={"days", "bucket"}))


def _is_supported(
    counts: WindowCounts, events: Numbers, count: Numbers, rule: TrendRule, smoothing: float
) -> NDArray[np.bool_]:
    """Return for each product whether it has support and, if users count, two of them in one bucket."""
    is_supported: NDArray[np.bool_]
    if rule.min_events is None:
        is_supported = counts.summed_by_product(count) >= smoothing * _SUPPORT_PER_SMOOTHING
    else:
        is_supported = counts.summed_by_product(events) >= rule.min_events
    if rule.count_by == "users":
        is_supported &= counts.summed_by_product(np.where(count > 1, 1.0, 0.0)) > 0
    return is_supported


def _event_figures(counts: WindowCounts, events: Numbers, products: Indices) -> dict[str, Numbers]:
    """Compute the figures of the products' events; the increase is NaN without events in the first bucket."""
    ends = (0, len(counts.starts) - 1)
    first, last = (counts.summed_by_product(np.where(counts.bucket == end, events, 0))[products] for end in ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        increase = np.where(first > 0, 100 * (last - first) / first, np.nan)
    return {"first": first, "total_pct_increase": increase, "event_count": counts.summed_by_product(events)[products]}


def _figures(
    counts: WindowCounts, count: Numbers, products: Indices, levels: Numbers, recent_share: float, smoothing: float
) -> dict[str, Numbers]:
    """Compute score, growth and z of the products; all NaN without an open bucket in the baseline or the recent part.

    A bucket is open if the shop has a count in it, else its level is NaN.
    """
    n, is_open = len(levels), ~np.isnan(levels)
    is_recent = np.arange(n) >= n - max(1, round(n * recent_share))
    baseline, recent = is_open & ~is_recent, is_open & is_recent
    parts = np.array_split(products, max(1, -(-len(products) * n // _CELLS)))
    sums = [_sums(counts.spread(count, part), levels, baseline, recent) for part in parts]
    b, r, dispersion = np.concatenate(sums, axis=1)
    finite = dispersion[~np.isnan(dispersion)]
    phi = max(np.median(finite), 0.0) if len(finite) else 0.0
    h, m = recent.sum(), baseline.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.log((r / h + smoothing) / (b / m + smoothing))
        expected = h / m * b
        variance = r + (h / m) ** 2 * b + 1 + phi * (r * r / h + expected * expected / m)
        return {
            "trend_score": score,
            "growth_pct": 100 * (np.exp(score) - 1),
            "z": (r - expected) / np.sqrt(variance),
        }


def _sums(counts: Numbers, levels: Numbers, baseline: NDArray[np.bool_], recent: NDArray[np.bool_]) -> Numbers:
    """Return three rows with a column per product: b, r, and (variance - mean) / mean²."""
    is_open = baseline | recent
    adjusted = counts / levels
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = adjusted[:, is_open].sum(axis=1) / is_open.sum()
        squares = ((adjusted[:, is_open] - mean[:, None]) ** 2).sum(axis=1)
        dispersion = np.where(mean > 0, (squares / (is_open.sum() - 1) - mean) / mean**2, np.nan)
    b, r = (adjusted[:, side].sum(axis=1) for side in (baseline, recent))
    return np.array([b, r, dispersion])


def _best_first(figures: Mapping[str, Numbers], product_ids: NDArray[np.int64], rule: TrendRule) -> Indices:
    """Return the indices of the top products: largest figure first, then larger total, then smaller product_id."""
    key = figures["event_count" if rule.rank_by == "events" else rule.rank_by]
    key = np.where(np.isnan(key), -np.inf, key)
    # Only products that may be among the top are sorted.
    least = np.partition(key, -rule.top)[-rule.top] if rule.top < len(key) else -np.inf
    near = np.flatnonzero(key >= least)
    order = np.lexsort((product_ids[near], -figures["total"][near], -key[near]))
    return near[order[: rule.top]]


def _buckets(counts: Numbers, starts: NDArray[np.datetime64]) -> pa.Array:
    """Return a list per product with the start and the count of each bucket."""
    products, buckets = counts.shape
    bucket_at = pa.array(np.tile(starts, products)).cast(INSTANT)
    items = pa.StructArray.from_arrays([bucket_at, pa.array(counts.ravel())], fields=list(_BUCKET))
    return pa.ListArray.from_arrays(pa.array(np.arange(products + 1) * buckets, pa.int32()), items)


def _null_if_nan(numbers: Numbers) -> pa.Array:
    return pa.array(numbers, mask=np.isnan(numbers))


def _confidence(z: Numbers) -> pa.Array:
    labels = np.select([z >= _CONFIRMED_Z, z >= _EMERGING_Z], ["confirmed", "emerging"], "")
    return pa.array(labels, pa.string(), mask=labels == "")
