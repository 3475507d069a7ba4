"""The serving layer: merges what both layers hold into answers, as of any moment, and proves them.

A snapshot of the tables and a query come in.
Out go recommendations, and comparisons of every view with a recomputation from `events`.
"""
