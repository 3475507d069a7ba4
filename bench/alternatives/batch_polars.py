"""`batch_polars.py STEP FOLDER`: a step of the batch layer in Polars, on the same files."""

from pathlib import Path

import polars as pl
from common import Inputs, answer_file, run_step

_DAYS, _RECENT, _TOP = 7, 3, 1_000
_TOP_TRENDS, _PER_USER, _PER_BRAND, _LIMIT = 200, 10, 3, 50
_TYPES = {"view": "view", "cart": "cart", "remove": "remove_from_cart", "purchase": "purchase"}
_COLUMNS = {
    "product_id": pl.Int64,
    "category_id": pl.Int64,
    "category_code": pl.String,
    "brand": pl.String,
    "price": pl.Float64,
    "user_id": pl.Int64,
    "user_session": pl.String,
}


def store_files(inputs: Inputs, folder: Path) -> None:
    """Write the events of the files to a Delta table by day; a line that isn't an event raises an error."""
    for file in inputs["month"]:
        lines = pl.read_csv(
            file, schema={"event_time": pl.String, "event_type": pl.String, **_COLUMNS}, quote_char=None
        )
        time = pl.col("event_time").str.to_datetime("%Y-%m-%d %H:%M:%S UTC", time_unit="us", time_zone="UTC")
        events = lines.with_columns(time.alias("event_time"), time.dt.date().alias("event_date"))
        events.write_delta(folder / "events", mode="append", delta_write_options={"partition_by": ["event_date"]})


def activity(inputs: Inputs, folder: Path) -> None:
    """Events -> counts per day and product."""
    key, events = ["event_date", "product_id"], _scan(inputs, "events").with_columns(_brand())
    kinds = events.group_by(*key, "brand", "category_code", "price").agg(
        pl.col("event_time").max(),
        *((pl.col("event_type") == kind).sum().cast(pl.Int64).alias(f"{name}_count") for name, kind in _TYPES.items()),
        pl.len().cast(pl.Int64).alias("event_count"),
    )
    products = kinds.group_by(key).agg(
        *(_latest(name, "event_time") for name in ("brand", "category_code")),
        *(pl.col(f"{name}_count").sum() for name in [*_TYPES, "event"]),
        _latest("price", "event_time").alias("last_price"),
    )
    users = events.select(*key, "user_id").unique().group_by(key).agg(pl.len().cast(pl.Int64).alias("user_count"))
    _write(products.join(users, on=key), folder)


def brands(inputs: Inputs, folder: Path) -> None:
    """Events -> the recent brands of each user."""
    seen = _scan(inputs, "events").select("user_id", _brand(), "event_time").filter(pl.col("brand").is_not_null())
    latest = seen.group_by("user_id", "brand").agg(pl.col("event_time").max().alias("last_seen_at"))
    newest_first = latest.sort("user_id", "last_seen_at", "brand", descending=[False, True, False])
    lists = newest_first.group_by("user_id", maintain_order=True).agg(
        pl.struct("brand", "last_seen_at").head(_LIMIT).alias("brands")
    )
    _write(lists, folder)


def windows(inputs: Inputs, folder: Path) -> None:
    """Counts -> the trends of all windows."""
    days = sorted(_scan(inputs, "product_activity").select("event_date").unique().collect()["event_date"])
    counts = _scan(inputs, "product_activity").collect().lazy()
    found = [_trends(counts, days[first : first + _DAYS]) for first in range(len(days) - _DAYS + 1)]
    pl.concat(pl.collect_all(found)).write_parquet(answer_file(folder))


def window(inputs: Inputs, folder: Path) -> None:
    """Counts -> the trends of the last window."""
    last = _scan(inputs, "product_activity").select(pl.col("event_date").max()).collect().item()
    days = pl.date_range(last - pl.duration(days=_DAYS - 1), last, eager=True).to_list()
    _trends(_scan(inputs, "product_activity"), days).collect().write_parquet(answer_file(folder))


def recommend(inputs: Inputs, folder: Path) -> None:
    """Trends and recent brands -> recommendations for all users."""
    trends = _scan(inputs, "trends").filter(pl.col("window_to") == pl.col("window_to").max())
    best = (
        trends.filter((pl.col("rank") <= _TOP_TRENDS) & pl.col("brand").is_not_null())
        .select(
            pl.col("rank").alias("trend_rank"),
            "product_id",
            "brand",
            "trend_score",
            "total_pct_increase",
            "window_from",
            "window_to",
        )
        .collect()
    )
    start, end = (best[name].dt.replace_time_zone("UTC")[0] for name in ("window_from", "window_to"))
    bought = (
        _scan(inputs, "events")
        .filter(
            pl.col("event_date").is_between(start.date(), end.date()),
            pl.col("event_time").is_between(start, end, "left"),
        )
        .filter(pl.col("event_type") == "purchase")
        .select("user_id", "product_id")
        .unique()
    )
    seen = (
        _scan(inputs, "user_brands")
        .explode("brands")
        .unnest("brands")
        .with_columns(pl.int_range(pl.len()).over("user_id").add(1).alias("brand_position"))
    )
    choices = seen.join(best.lazy(), on="brand").join(bought, on=["user_id", "product_id"], how="anti")
    position = pl.col("trend_rank").rank("ordinal")
    chosen = choices.filter(position.over("user_id", "brand") <= _PER_BRAND).with_columns(
        position.over("user_id").alias("rank")
    )
    _write(chosen.filter(pl.col("rank") <= _PER_USER).rename({"last_seen_at": "brand_last_seen_at"}), folder)


def _scan(inputs: Inputs, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(inputs[name], hive_partitioning=True)


def _write(answer: pl.LazyFrame, folder: Path) -> None:
    answer.sink_parquet(answer_file(folder), compression="zstd", engine="streaming")


def _brand() -> pl.Expr:
    brand = pl.col("brand").str.strip_chars().str.to_lowercase()
    return pl.when(~brand.is_in(["", "unknown"])).then(brand).alias("brand")


def _latest(name: str, time: str) -> pl.Expr:
    is_present = pl.col(name).is_not_null()
    return (
        pl.col(name).filter(is_present).sort_by(pl.col(time).filter(is_present), pl.col(name).filter(is_present)).last()
    )


def _products(in_window: pl.LazyFrame, days: list[object]) -> pl.LazyFrame:
    """Return one row per product of a window, with its events (c0, c1, ...) and users (u0, u1, ...) per day."""
    by_day = {
        f"{letter}{number}": pl.col(count).filter(pl.col("event_date") == day).sum().cast(pl.Float64)
        for letter, count in (("c", "event_count"), ("u", "user_count"))
        for number, day in enumerate(days)
    }
    return in_window.group_by("product_id").agg(
        *(_latest(name, "event_date") for name in ("brand", "category_code")),
        pl.col("event_count", "user_count").sum(),
        pl.col("user_count").max().alias("most_users"),
        **by_day,
    )


def _trends(counts: pl.LazyFrame, days: list[object]) -> pl.LazyFrame:
    """Rank the products of one window of days that all have events."""
    in_window = counts.filter(pl.col("event_date").is_between(days[0], days[-1]))
    total = in_window.group_by("event_date").agg(pl.col("user_count").sum().cast(pl.Float64)).collect()
    totals = dict(total.iter_rows())
    mean = sum(totals.values()) / _DAYS
    smoothing = min(max(mean / 1_000, 1), 10)
    adjusted = [pl.col(f"u{number}") * (mean / totals[day]) for number, day in enumerate(days)]
    h, m = _RECENT, _DAYS - _RECENT
    r, b, a = pl.col("r"), pl.col("b"), smoothing
    average = pl.concat_list(adjusted).list.mean()
    spread = (pl.concat_list(adjusted).list.var() - average) / average**2
    phi, expected = pl.max_horizontal(pl.lit(0.0), spread.median()), h / m * b
    variance = r + (h / m) ** 2 * b + 1 + phi * (r**2 / h + expected**2 / m)
    first, last = pl.col("c0"), pl.col(f"c{_DAYS - 1}")
    z = pl.col("z")
    return (
        _products(in_window, days)
        .filter((pl.col("user_count") >= 8 * smoothing) & (pl.col("most_users") > 1))
        .with_columns(pl.sum_horizontal(adjusted[-h:]).alias("r"), pl.sum_horizontal(adjusted[:m]).alias("b"))
        .with_columns(
            ((r / h + a) / (b / m + a)).log().alias("trend_score"), ((r - expected) / variance.sqrt()).alias("z")
        )
        .sort("trend_score", "user_count", "product_id", descending=[True, True, False])
        .head(_TOP)
        .select(
            pl.lit(days[0]).alias("window_from"),
            pl.lit(days[-1]).dt.offset_by("1d").alias("window_to"),
            pl.int_range(1, pl.len() + 1).alias("rank"),
            *("product_id", "brand", "category_code", "event_count", "user_count"),
            pl.concat_list([f"c{number}" for number in range(_DAYS)]).alias("buckets"),
            pl.when(first > 0).then(100 * (last - first) / first).alias("total_pct_increase"),
            (first == 0).alias("is_new"),
            "trend_score",
            (100 * (pl.col("trend_score").exp() - 1)).alias("growth_pct"),
            "z",
            pl.when(z >= 3).then(pl.lit("confirmed")).when(z >= 2).then(pl.lit("emerging")).alias("confidence"),
        )
    )


if __name__ == "__main__":
    steps = {"files": store_files, "activity": activity, "brands": brands}
    run_step(__doc__, {**steps, "windows": windows, "window": window, "recommend": recommend})
