"""The Delta tables: their contracts, files, commits, lineage and maintenance, read without Spark.

Arrow tables and DataFrames come in and are committed so that each write can be repeated.
Out go files, versions, offsets covered and rows of a table at any version its log still holds.
"""
