"""Kafka: clients, security, and the topic as a source for Spark.

The settings of the broker and the topic come in.
Out come producers, consumers and DataFrames of messages, and errors that name the broker and the remedy.
"""
