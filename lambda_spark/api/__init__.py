"""The HTTP API and the page, over the tables and without Spark.

The tables of a data root come in and are kept in memory, current within a second.
Out go JSON answers, problems of RFC 9457, server-sent events, metrics and the page's files.
"""
