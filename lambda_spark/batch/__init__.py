"""The batch layer: keeps `product_activity`, `trends` and `user_brands` current with the master dataset.

The files of `events` come in, all of them or those added since the last run.
Out go the batch views, each with the version of `events` it was computed from, and counts of any range.
"""
