"""Counts per product and bucket, the windows that may be requested, and the trend score that ranks products.

Events of some files or counts of buckets come in, as Arrow tables.
Ranked products of a window come out, as columns of schemas.TRENDS.
"""
