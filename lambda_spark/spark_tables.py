"""The Delta tables as Spark needs them: made with the columns of their contract, and read as DataFrames."""

from collections.abc import Mapping, Sequence
from typing import Any

import deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import CommitProperties
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lambda_spark.tables import Table, exists, path_of, require, telling

# A log is only appended to, so that the files which a version has and an older one has not tell what is new.
_LOG_PROPERTIES = {"delta.appendOnly": "true"}
# As Spark has it. With the 100 of delta-rs, a micro-batch would open its tables in 15 ms each instead of 3.
_PROPERTIES = {"delta.checkpointInterval": "10"}


def create(spark: SparkSession, root: str, table: Table, lineage: Mapping[str, Any] | None = None) -> None:
    """Make the table where there is none, so that its columns are the contract's and not the first writer's.

    Its first commit tells the lineage, if there is one.
    """
    if exists(root, table):
        return
    schema = to_arrow_schema(spark.createDataFrame([], table.columns).schema, timezone="UTC")
    properties = _PROPERTIES | (_LOG_PROPERTIES if table.is_log else {})
    try:
        # Tried again, it would make the table once more, over what another job has made of it meanwhile.
        deltalake.DeltaTable.create(
            path_of(root, table),
            schema,
            "ignore",
            table.partitioned_by,
            configuration=properties,
            commit_properties=CommitProperties(telling(lineage), max_commit_retries=0),
        )
    except CommitFailedError:
        if not exists(root, table):
            raise


def create_all(spark: SparkSession, root: str, tables: Sequence[Table]) -> None:
    """Make those of the tables that are not there."""
    for table in tables:
        create(spark, root, table)


def read(spark: SparkSession, root: str, table: Table, version: int | None = None) -> DataFrame:
    """Read the table, or a version of it. Raises NotComputedError where it has not been made."""
    require(root, table)
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path_of(root, table))
