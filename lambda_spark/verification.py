"""`recommend.py --verify`: whether stored recommendations follow from the stored events alone."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import schemas, spark_tables, tables
from lambda_spark.differences import Difference, compare
from lambda_spark.errors import NotComputedError
from lambda_spark.known_events import known_once
from lambda_spark.parquet_files import rows_of
from lambda_spark.serving import question_of, recommended_from_events
from lambda_spark.settings import load_settings
from lambda_spark.tables import RECOMMENDATIONS
from lambda_spark.time_ranges import format_instant

# Sums of fractions depend on their order in the last digits.
_DIGITS = 9


def verify(spark: SparkSession, root: str, where: str) -> Difference:
    """Compute the recommendations that meet the condition again, by what their commit tells, from `events` alone.

    Raises NotComputedError where there are none, or where `events` does not hold all that they came from yet.
    """
    lineage = next((each for each in tables.lineages_of(root, RECOMMENDATIONS) if each["rows"] == where), None)
    if lineage is None:
        raise NotComputedError(f"No recommendations are stored for {where}: ask for them without --verify first.")
    known = known_once(root, lineage["known"])
    if known.notes:
        raise NotComputedError(known.notes[0])
    question = question_of(lineage)
    settings = load_settings(data_root=root, **lineage["rules"])
    brands, make_rows = recommended_from_events(spark, settings, question, known)
    computed = brands.mapInArrow(rows_of(make_rows), schemas.RECOMMENDATIONS)
    stored = spark_tables.read(spark, root, RECOMMENDATIONS).where(where)
    what = f"Recommendations for {question.request.range} as of {format_instant(question.as_of)}"
    ways = "in the table", "computed from events"
    return compare(what, ways, _comparable(stored), _comparable(computed), ("user_id", "rank"))


def _comparable(rows: DataFrame) -> DataFrame:
    figures = {name: F.round(name, _DIGITS) for name in ("trend_score", "total_pct_increase")}
    return rows.select(*schemas.RECOMMENDATION_COLUMNS).withColumns(figures)
