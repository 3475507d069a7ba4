"""Recommendations from a shop's click stream: the Lambda architecture on Spark, Kafka and Delta Lake.

The packages are the architecture: ideas (`events`, `history`, `trends`, `recommendations`) without any I/O, edges
(`delta`, `kafka`), the layers (`batch`, `speed`, `serving`), and around them `api`, `report`, `replay`, `local` and
`evaluation`. `pipelines` has one function per job and `cli` what the job scripts share.
"""
