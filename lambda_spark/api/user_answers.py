"""What is answered of users: their recent brands, and what is recommended to them, with the evidence."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from lambda_spark import words
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.known import Asked
from lambda_spark.api.questions import known
from lambda_spark.api.user_lists import Seen, lists_of
from lambda_spark.api.windows import Window
from lambda_spark.errors import UnknownUserError
from lambda_spark.recent_brands import list_of_user
from lambda_spark.single_user import recommend_to_one
from lambda_spark.time_ranges import UTC, instant


def past_brands(keeper: Keeper, user_id: int, as_of: datetime) -> list[Seen] | None:
    """Compute the recent brands of a user as of a past moment, newest first; None where none was known then."""
    events, brands = known(keeper).counts.events, keeper.settings.brands
    files = [file for file in events.files if file.day <= as_of.astimezone(UTC).date()]
    found = list_of_user(user_id, files, brands.limit, brands.event_types, as_of, events.later)
    return lists_of(found.to_batches(), brands.limit).find(user_id)


def require_brands(brands: list[Seen] | None, user_id: int) -> list[Seen]:
    """Return the brands. Raises UnknownUserError where there are none."""
    if brands is None:
        raise UnknownUserError(
            f"No brand is known that user {user_id} has met: ask for recommendations with fallback=true."
        )
    return brands


def brand_rows(brands: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return the brands as they are answered."""
    return [
        {"position": position, "brand": brand, "last_seen_at": instant(seen_at)}
        for position, (brand, seen_at) in enumerate(brands, start=1)
    ]


def recommendation_rows(
    keeper: Keeper, window: Window, user_id: int, brands: Sequence[Seen], count: int, fallback: bool
) -> list[dict[str, Any]]:
    """Return what is recommended to a user of these brands, the best first, as it is answered."""
    met = window.met.of(user_id)
    met.update(keeper.events.met_by(user_id, window.asked.known_range()))
    offers = recommend_to_one(window.shelf, [brand for brand, _ in brands], met, count, fallback)
    now = window.asked.as_of or keeper.seen_upto() or window.asked.range.end

    @cache
    def of_brand(position: int | None) -> tuple[dict[str, Any], str]:
        """Return the evidence of the brand at a position, and the same in words: its products share it."""
        if position is None:
            return {"brand_position": None, "brand_last_seen_at": None, "is_fallback": True}, words.FALLBACK
        brand, seen_at = brands[position - 1][0], instant(brands[position - 1][1])
        why = words.brand_reason(brand, seen_at, now, position, len(brands))
        return {"brand_position": position, "brand_last_seen_at": seen_at, "is_fallback": False}, why

    rows = []
    for rank, offer in enumerate(offers, start=1):
        (values, trend), (of_list, why) = window.evidence[offer.place], of_brand(offer.position)
        rows.append({"rank": rank, **values, **of_list, "reason": f"{trend}; {why}"})
    return rows


def window_name(asked: Asked) -> dict[str, Any]:
    """Return the window as it is answered."""
    return {"from": asked.range.start, "to": asked.range.end, "bucket": asked.bucket}
