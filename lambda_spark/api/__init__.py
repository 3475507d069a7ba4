"""The HTTP API and its page, over the tables, without Spark.

In come the tables of a data root and the topic; what requests need of them is in memory, current within a second.
Out go JSON answers, problems (RFC 9457), server-sent events, metrics and the files of the page.
"""
