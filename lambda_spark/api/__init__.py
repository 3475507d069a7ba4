"""The serving layer for other programs and for people: an HTTP API and a page, over the tables, without Spark."""
