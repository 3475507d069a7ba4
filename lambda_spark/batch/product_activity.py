"""The batch view `product_activity`: counts per day and product, of which only days with new events are recomputed."""

import logging
from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from lambda_spark import schemas
from lambda_spark.batch.tasks import count_span, day_span
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.coverage import COVERS, EVENTS_VERSION, usable_lineage
from lambda_spark.delta.event_log import changed_days
from lambda_spark.delta.file_tasks import EventFile, map_parts
from lambda_spark.delta.parquet_files import unchanged_rows
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY
from lambda_spark.errors import OvertakenError

_log = logging.getLogger(__name__)


def update_product_activity(spark: SparkSession, root: str) -> int:
    """Recompute the days with new events; return the version of `events` that the view then covers."""
    version = tables.version_of(root, EVENTS)
    lineage, days = usable_lineage(root, PRODUCT_ACTIVITY), None
    if lineage is not None:
        days = changed_days(root, lineage[EVENTS_VERSION], version)
    if days != []:
        commit_unless_overtaken(root, stage_product_activity(spark, root, version, days))
    return version


def stage_product_activity(
    spark: SparkSession, root: str, version: int, days: Sequence[date] | None = None
) -> commits.Staged:
    """Count all days of a version of the master dataset, or some, into files that no reader sees yet."""
    files = event_log.event_files(root, version)
    counts = product_activity(spark, files if days is None else [file for file in files if file.day in days])
    return commits.stage(counts, unchanged_rows, root, PRODUCT_ACTIVITY, days, view_lineage(root, version))


def commit_unless_overtaken(root: str, staged: commits.Staged) -> None:
    """Commit the rows of a view, unless another run has stored rows of later events meanwhile."""
    try:
        commits.commit_staged(root, staged)
    except OvertakenError as error:
        _log.warning("%s", error)


def view_lineage(root: str, version: int) -> dict[str, Any]:
    """Return the lineage of a view of a version of `events`: that version, and the messages that it covers."""
    return {EVENTS_VERSION: version, COVERS: tables.lineage_of(root, EVENTS, version) or {}}


def product_activity(spark: SparkSession, files: Sequence[EventFile]) -> DataFrame:
    """Count per day. One row per (event_date, product_id), schemas.PRODUCT_ACTIVITY."""
    spans = [day_span(files, day) for day in sorted({file.day for file in files})]
    count_day = partial(count_span, bucket="CAST(bucket_at AS DATE) AS event_date")
    return map_parts(spark, spans, count_day, schemas.PRODUCT_ACTIVITY)
