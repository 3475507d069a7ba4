"""Recommendations from a shop's raw click stream: the Lambda architecture on Spark, Kafka and Delta Lake."""
