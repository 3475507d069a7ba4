"""The counts that trends are made of, on hand-computed examples."""

from collections.abc import Sequence
from datetime import date, timedelta

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import schemas
from lambda_spark.batch.product_activity import product_activity
from lambda_spark.batch.tasks import bucket_spans, count_span
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.file_tasks import EventFile, map_parts
from lambda_spark.delta.tables import EVENTS
from lambda_spark.schemas import BUCKET_ACTIVITY, PRODUCT_ACTIVITY
from lambda_spark.time_ranges import TimeRange, parse_instant

# event_time, event_type, product_id, category_code, brand, price, user_id
ROWS = [
    ("2019-11-01 00:00:00", "view", 1, "a.b", "Apple", 10.0, 7),
    ("2019-11-01 00:00:00", "view", 1, "a.b", "Apple", 10.0, 7),  # a duplicate is a fact and counts
    ("2019-11-01 09:59:59.999999", "cart", 1, "Unknown", "Unknown", 11.0, 8),
    ("2019-11-01 10:00:00", "remove_from_cart", 1, None, None, None, 8),
    ("2019-11-01 23:59:59.999999", "purchase", 1, None, "apple ", 9.0, 7),
    ("2019-11-01 23:59:59.999999", "collect", 1, None, "sony", 8.0, 9),  # at the same time: the larger text, price
    ("2019-11-02 00:00:00", "view", 1, None, None, 12.0, 7),
    ("2019-11-01 12:00:00", "view", 2, None, "", None, 7),
    ("2019-11-03 00:00:00", "view", 2, None, None, 0.0, 7),
]


@pytest.fixture(scope="module")
def events(spark: SparkSession) -> DataFrame:
    rows = [(parse_instant(at), *event, parse_instant(at).date()) for at, *event in ROWS]
    columns = "event_time timestamp, event_type string, product_id bigint, category_code string, brand string"
    return spark.createDataFrame(rows, f"{columns}, price double, user_id bigint, event_date date").cache()


@pytest.fixture(scope="module")
def files(spark: SparkSession, events: DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Sequence[EventFile]:
    """Store the events, each in a file of its own, as if it had come alone."""
    root = tmp_path_factory.mktemp("data")
    commits.create(spark, root, EVENTS)
    columns = [column for column in spark.createDataFrame([], schemas.EVENTS).columns if column not in events.columns]
    rows = events.withColumns({column: F.lit(None) for column in columns}).toArrow()
    schema = commits.write_target(root, EVENTS).schema
    rows = pa.table({field.name: rows[field.name].cast(field.type) for field in schema})
    for number in range(len(rows)):
        write_deltalake(tables.path_of(root, EVENTS), rows.slice(number, 1), mode="append")
    return event_log.event_files(root)


def over(start: str, end: str) -> TimeRange:
    return TimeRange(parse_instant(start), parse_instant(end))


def test_one_row_per_day_and_product(spark: SparkSession, files: Sequence[EventFile]) -> None:
    first, second, third = (date(2019, 11, day) for day in (1, 2, 3))
    expected = [
        # brand, category, views, carts, removes, purchases, events, users, last price
        (first, 1, "sony", "a.b", 2, 1, 1, 1, 6, 3, 9.0),
        (second, 1, None, None, 1, 0, 0, 0, 1, 1, 12.0),
        (first, 2, None, None, 1, 0, 0, 0, 1, 1, None),
        (third, 2, None, None, 1, 0, 0, 0, 1, 1, 0.0),
    ]
    assert_df_equality(
        product_activity(spark, files),
        spark.createDataFrame(expected, PRODUCT_ACTIVITY),
        ignore_row_order=True,
        ignore_nullable=True,
    )


def bucket_activity(
    spark: SparkSession, files: Sequence[EventFile], time_range: TimeRange, size: timedelta
) -> DataFrame:
    return map_parts(spark, bucket_spans(files, time_range, size), count_span, BUCKET_ACTIVITY)


def test_buckets_of_a_day_are_the_days(spark: SparkSession, files: Sequence[EventFile]) -> None:
    whole = over("2019-11-01", "2019-11-04")
    from_events = bucket_activity(spark, files, whole, timedelta(days=1))
    assert_df_equality(
        product_activity(spark, files).withColumnRenamed("event_date", "bucket_at"),
        from_events.withColumn("bucket_at", F.to_date("bucket_at")),
        ignore_row_order=True,
        ignore_nullable=True,
    )
    assert [(f.name, f.dataType) for f in from_events.schema] == [
        (f.name, f.dataType) for f in spark.createDataFrame([], BUCKET_ACTIVITY).schema
    ]


def counts(activity: DataFrame) -> dict[tuple[str, int], int]:
    rows = activity.select(F.date_format("bucket_at", "dd HH:mm:ss.SSS"), "product_id", "event_count").collect()
    return {(at, product_id): count for at, product_id, count in rows}


def test_buckets_begin_with_the_range_and_hold_their_start_but_not_their_end(
    spark: SparkSession, files: Sequence[EventFile]
) -> None:
    assert counts(bucket_activity(spark, files, over("2019-11-01", "2019-11-02"), timedelta(hours=10))) == {
        ("01 00:00:00.000", 1): 3,
        ("01 10:00:00.000", 1): 1,
        ("01 20:00:00.000", 1): 2,
        ("01 10:00:00.000", 2): 1,
    }
    noon_to_noon = over("2019-11-01T12:00:00", "2019-11-03T12:00:00")
    assert counts(bucket_activity(spark, files, noon_to_noon, timedelta(days=1))) == {
        ("01 12:00:00.000", 1): 3,
        ("01 12:00:00.000", 2): 1,
        ("02 12:00:00.000", 2): 1,
    }
    within_a_second = over("2019-11-01T09:59:59.500", "2019-11-01T10:01:59.500")
    assert counts(bucket_activity(spark, files, within_a_second, timedelta(minutes=1))) == {("01 09:59:59.500", 1): 2}
