"""`python -m bench.batch_window`: each window of trends in turn, from `product_activity` and without Spark.

The data root is that of the settings. Prints the median of the seconds as JSON.
"""

import json
from functools import partial

from bench.batch_steps import all_windows, median_seconds
from lambda_spark.batch import bucket_counts
from lambda_spark.delta import tables
from lambda_spark.settings import Settings, load_settings
from lambda_spark.time_ranges import DAY, TimeRange
from lambda_spark.trends import score
from lambda_spark.trends.score import trends
from lambda_spark.trends.windows import columns_read


def main() -> None:
    """Answer each of the windows."""
    settings = load_settings()
    print(json.dumps({"window": median_seconds(partial(answer, settings, each) for each in all_windows(settings))}))


def answer(settings: Settings, window: TimeRange) -> None:
    """Compute the trends of a window."""
    rule = score.trend_rule(settings.trends)
    view = tables.open_dataset(settings.data_root, tables.PRODUCT_ACTIVITY)
    counts = bucket_counts.daily_counts(view, window, columns_read(rule.weights))
    trends(counts, window, DAY, "day", rule)


if __name__ == "__main__":
    main()
