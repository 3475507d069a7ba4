"""The console's output: counts, trends, brands and recommendations as tables.

Text of events is shown literally: markup in it isn't interpreted, control characters are escaped.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from lambda_spark.report import words
from lambda_spark.report.summary import RunSummary, rejected_by_reason, totals, verdicts
from lambda_spark.report.terminal import Column, bar_size, left, print_table, right, say, sparkline
from lambda_spark.schemas import Row

if TYPE_CHECKING:
    from lambda_spark.delta.event_log import Counts

_WIDTH_WITHOUT_TERMINAL = 120
_WIDE = 110
_COUNTS_WIDTH = 36
_BRAND_WIDTH = 18


def make_console(stream: TextIO | None = None) -> Console:
    """Return a console on the stream (standard output by default); without a terminal it is plain and 120 wide."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    return console


def print_summary(console: Console, summary: RunSummary) -> None:
    """Print one run from its messages to its recommendations."""
    print_counts(console, summary.counts)
    print_stored(console, summary.data_root)
    print_notes(console, summary.notes)
    print_trends(console, summary.trends, summary.count_by, summary.min_events)
    print_brands(console, summary.brands, summary.brand_limit)
    brand_counts = {row.user_id: len(row.brands) for row in summary.brands}
    print_recommendations(console, summary.recommendations, brand_counts)


def print_counts(console: Console, counts: "Counts") -> None:
    """Print the messages sent, received by each layer, stored and rejected, and whether they agree."""
    parts = [(f"  {reason}", count, sentence) for reason, count, sentence in rejected_by_reason(counts)]
    lines = [(label, count, "") for label, count in totals(counts)] + parts
    columns = [
        Column("", [Text(words.clean(label)) for label, _, _ in lines]),
        right("", [words.number(count) for _, count, _ in lines]),
        Column("", [Text(sentence, style="dim") for _, _, sentence in lines], is_flexible=True),
    ]
    print_table(console, "Messages", columns)
    console.print()
    for is_right, sentence in verdicts(counts):
        mark = ("✓ ", "bold green") if is_right else ("✗ ", "bold red")
        console.print(Text.assemble(mark, sentence))


def print_stored(console: Console, data_root: str) -> None:
    """Print where the batch result is stored."""
    console.print(Text(f"The batch result is stored in the serving layer: {data_root}"), soft_wrap=True)


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print the notes on an answer, each a sentence."""
    for note in notes:
        console.print(Text(note))


def print_trends(console: Console, rows: Sequence[Row], count_by: str, min_events: int | None) -> None:
    """Print the trending products of one window, best first, with as many columns as fit."""
    if not rows:
        say(console, words.no_trends(count_by, min_events))
        return
    is_wide = console.width >= _WIDE
    title = f"Trending products, {words.window(rows[0].window_from, rows[0].window_to)}"
    print_table(console, title, _trend_columns(rows, is_wide))
    say(console, _legend(rows[0], count_by, is_wide), style="dim")


def print_brands(console: Console, rows: Sequence[Row], limit: int) -> None:
    """Print the most recent brands of users, newest first; `limit` is the most that are kept for a user."""
    if not rows:
        say(console, words.NO_BRANDS)
        return
    room = console.width - max(len(str(row.user_id)) for row in rows) - _BRAND_WIDTH
    shown = min(max(1, room // _BRAND_WIDTH), max(len(row.brands) for row in rows))
    columns = [
        right("user", [row.user_id for row in rows]),
        right("brands", [f"{len(row.brands)} of {limit}" for row in rows]),
        *(
            Column("1, the newest" if place == 0 else str(place + 1), [_brand_at(row.brands, place) for row in rows])
            for place in range(shown)
        ),
    ]
    print_table(console, "Recent brands of some users, and when each was last seen (UTC)", columns)


def print_recommendations(
    console: Console,
    rows: Sequence[Row],
    brand_counts: Mapping[int, int] | None = None,
    as_of: datetime | None = None,
) -> None:
    """Print recommendations with their reasons, `rows` ordered by user and rank.

    `brand_counts` is the number of recent brands by user, if known. `as_of` is the moment of the answer, by default the
    end of the window.
    """
    if not rows:
        say(console, words.NO_RECOMMENDATIONS)
        return
    for user, group in groupby(rows, key=lambda row: row.user_id):
        shown = list(group)
        count = (brand_counts or {}).get(user)
        columns = [
            right("#", [row.rank for row in shown]),
            right("product", [row.product_id for row in shown]),
            left("brand", [row.brand for row in shown]),
            Column("reason", [Text(words.reason(row, count, as_of)) for row in shown], is_flexible=True),
        ]
        moment = words.minute(as_of or shown[0].window_to)
        print_table(console, f"Recommended to user {user}, as of {moment} UTC", columns)


def _trend_columns(rows: Sequence[Row], is_wide: bool) -> list[Column]:
    counts = [[bucket.event_count for bucket in row.buckets] for row in rows]
    category = left("category", [words.category(row) for row in rows], is_flexible=True)
    growth = right("growth", [words.percent(row.growth_pct) for row in rows])
    return [
        right("#", [row.rank for row in rows]),
        right("product", [row.product_id for row in rows]),
        left("brand", [row.brand for row in rows], is_flexible=True),
        *([category] if is_wide else []),
        Column("trend", [Text(sparkline(row_counts, _most_bars(is_wide)), style="cyan") for row_counts in counts]),
        _counts_column(rows[0], counts, is_wide),
        right("increase", [words.increase(row) for row in rows]),
        right("score", [words.score(row.trend_score) for row in rows]),
        *([growth] if is_wide else []),
        left("confidence", [row.confidence for row in rows]),
    ]


def _counts_column(row: Row, counts: Sequence[Sequence[float]], is_wide: bool) -> Column:
    """Return the count of every bucket under its day or time if they fit, else the first and the last count."""
    labels = words.bucket_labels(row)
    heads = [label.split()[0] for label in labels] if row.bucket == "day" else labels
    lines = [[words.compact(count) for count in row_counts] for row_counts in counts]
    size = max(len(text) for line in [heads, *lines] for text in line)
    if is_wide and (size + 1) * len(heads) <= _COUNTS_WIDTH:
        header, *cells = [" ".join(text.rjust(size) for text in line) for line in [heads, *lines]]
        return left(header, cells)
    size = max(len(text) for line in lines for text in line)
    return left("first → last", [f"{line[0]:>{size}} → {line[-1]:>{size}}" for line in lines])


def _brand_at(brands: Sequence[Row], place: int) -> Text:
    if place >= len(brands):
        return Text()
    name = Text(words.clean(brands[place].brand))
    name.truncate(_BRAND_WIDTH - 2, overflow="ellipsis")
    return Text.assemble(name, "\n", (words.minute(brands[place].last_seen_at), "dim"))


def _most_bars(is_wide: bool) -> int:
    return 24 if is_wide else 12


def _legend(row: Row, count_by: str, is_wide: bool) -> str:
    labels = words.bucket_labels(row)
    size = bar_size(len(labels), _most_bars(is_wide))
    bar = words.bucket_name(row.bucket)
    bar = bar if size == 1 else f"the mean of {size} buckets of {bar}"
    growth = "; growth: the same in %" if is_wide else ""
    bars = f"Each bar is the events of {bar}, from {labels[0]} to {labels[-1]} (UTC)"
    return f"{bars}. {words.measures(count_by)}{growth}."
