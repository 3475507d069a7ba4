"""Rows and numbers as text for people, the same on the console and on the page.

Text of events is untrusted: everything that shows it passes it through `clean` first.
Times may be zone-aware or naive; naive ones are local times, as pyspark's `collect` returns them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lambda_spark.schemas import Row

FALLBACK = "fallback: a trend of the whole shop, not of your recent brands"
NOTHING = "\u2013"  # an en dash
_MINUS = "\u2212"
_UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))
NO_BRANDS = "No user has viewed a brand yet: replay events into the topic, then run batch_brands.py or speed_stream.py."

NO_RECOMMENDATIONS = (
    "No trending product is of a brand that these users viewed lately: set fallback = true under [recommendations] in "
    "conf/lambda.toml to fill up with top trends, or raise top_trends there."
)

_COUNTED = {"users": "distinct users", "events": "events"}


def measures(count_by: str) -> str:
    """Return the legend of a trend's figures if its score counts `count_by`: users or events."""
    return (
        "Increase: events of the last bucket against the first; score: logarithm of the growth of "
        f"{_COUNTED[count_by]} from the earlier buckets to the latest ones, relative to the whole shop"
    )


def no_trends(count_by: str, min_events: int | None) -> str:
    """Return why no product is ranked, and what to do; a `min_events` of None follows the shop's size."""
    reached = f"the minimum of {_COUNTED[count_by]}" if min_events is None else f"min_events = {min_events}"
    shared = " with two users in one bucket" if count_by == "users" else ""
    return f"No product reached {reached}{shared} in this range: lower it with --min-events, or ask for a longer range."


def clean(text: object) -> str:
    """Return text that is safe to show: control, bidi and zero-width characters are escaped."""
    if text is None or text == "":
        return NOTHING
    shown = str(text)
    if shown.isprintable():  # nearly every text, checked at once instead of letter by letter
        return shown
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def number(value: float) -> str:
    """Return a count with separators, rounded: 4,210."""
    return f"{value:,.0f}"


def compact(value: float) -> str:
    """Return a count in at most five characters: 9999, 12k, 3.4M."""
    if value < 10_000:
        return f"{value:.0f}"
    return f"{value / 1e3:.0f}k" if value < 999_500 else f"{value / 1e6:.1f}M"


def percent(value: float | None) -> str:
    """Return a change with its sign: +240 %."""
    return NOTHING if value is None else f"{value:+,.0f} %".replace("-", _MINUS)


def score(value: float | None) -> str:
    """Return a trend score with two decimals and its sign: +1.31."""
    return NOTHING if value is None else f"{value:+.2f}".replace("-", _MINUS)


def increase(row: Row) -> str:
    """Return the increase of a trend from its first to its last bucket, or `new` if the first has no events."""
    return "new" if row.is_new else percent(row.total_pct_increase)


def category(row: Row) -> str:
    """Return the last part of the category code: `smartphone` of `electronics.smartphone`."""
    return clean(row.category_code).rpartition(".")[2]


def utc(moment: datetime) -> datetime:
    """Return the moment in UTC."""
    return moment.astimezone(timezone.utc)


def iso(moment: datetime) -> str:
    """Return the moment as ISO 8601 in UTC: 2019-11-08T00:00:00Z."""
    return utc(moment).replace(tzinfo=None).isoformat() + "Z"


def minute(moment: datetime) -> str:
    """Return the moment in UTC, to the minute: 2019-11-07 22:10."""
    return f"{utc(moment):%Y-%m-%d %H:%M}"


def second(moment: datetime) -> str:
    """Return the moment in UTC, to the second: 2019-11-07 22:10:05."""
    return f"{utc(moment):%Y-%m-%d %H:%M:%S}"


def day_or_minute(moments: Iterable[datetime]) -> list[str]:
    """Return each moment as a day if all are midnights, else to the minute."""
    minutes = [minute(moment) for moment in moments]
    return [text[:10] for text in minutes] if all(text.endswith("00:00") for text in minutes) else minutes


def from_here(path: str | Path) -> str:
    """Return the path relative to the working directory if it is below it."""
    return str(path).removeprefix(f"{Path.cwd()}/")


def window(start: datetime, end: datetime) -> str:
    """Return a half-open range: 2019-11-01 to 2019-11-08 UTC."""
    return " to ".join(day_or_minute((start, end))) + " UTC"


def reach(batch_upto: datetime | None, seen_upto: datetime | None) -> str:
    """Return how far an answer reaches: the newest event of the batch layer, and the newest of either layer."""
    batch, seen = (f"{second(moment)} UTC" if moment else "no event" for moment in (batch_upto, seen_upto))
    return f"Batch layer up to {batch}; newest event seen: {seen}."


def bucket_labels(row: Row) -> list[str]:
    """Return a short label for each bucket of a trend: 7 Nov for a day, 22:10 within one day, else 7 Nov 22:10."""
    moments = [utc(bucket.bucket_at) for bucket in row.buckets]
    if row.bucket == "day":
        return [f"{moment.day} {moment:%b}" for moment in moments]
    is_one_day = len({moment.date() for moment in moments}) == 1
    return [f"{moment:%H:%M}" if is_one_day else f"{moment.day} {moment:%b} {moment:%H:%M}" for moment in moments]


def bucket_name(bucket: str) -> str:
    """Return a bucket size as a noun: one day, one hour, 10 minutes."""
    return bucket if bucket[0].isdigit() else f"one {bucket}"


def amount(count: int, noun: str) -> str:
    """Return a count with its noun: 1 day, 7 days."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def span(length: timedelta) -> str:
    """Return a length of time in the largest unit of which it is a multiple: 7 days, 36 hours, 170 minutes."""
    unit, noun = next(((unit, noun) for unit, noun in _UNITS if not length % unit), _UNITS[-1])
    return amount(length // unit, noun)


def ago(then: datetime, now: datetime) -> str:
    """Return the time from `then` to `now` in whole days, hours or minutes: 2 days ago."""
    elapsed = now - then
    for unit, noun in _UNITS:
        if elapsed >= unit:
            return f"{amount(elapsed // unit, noun)} ago"
    return "just now"


def reason(row: Row, brand_count: int | None = None, as_of: datetime | None = None) -> str:
    """Return why a product is recommended, from one row of `recommendations`.

    `brand_count` is the number of the user's recent brands, if known. Times are relative to `as_of`, by default the end
    of the window.
    """
    trend = trend_reason(row.total_pct_increase, utc(row.window_to) - utc(row.window_from), row.trend_rank)
    if row.is_fallback:
        return f"{trend}; {FALLBACK}"
    seen_at, now = utc(row.brand_last_seen_at), utc(as_of or row.window_to)
    return f"{trend}; {brand_reason(row.brand, seen_at, now, row.brand_position, brand_count)}"


def trend_reason(change: float | None, length: timedelta, trend_rank: int) -> str:
    """Return the trend of a product: up 63 % in 7 days, trend no. 5."""
    direction = "new" if change is None else f"{'up' if change >= 0 else 'down'} {abs(change):,.0f} %"
    return f"{direction} in {span(length)}, trend no. {trend_rank}"


def brand_reason(brand: str, seen_at: datetime, now: datetime, position: int, brand_count: int | None) -> str:
    """Return how a brand relates to a user: you looked at veltech 1 day ago (brand no. 1 of 17)."""
    of_all = "" if brand_count is None else f" of {brand_count}"
    return f"you looked at {clean(brand)} {ago(seen_at, now)} (brand no. {position}{of_all})"
