"""Everything that `make` runs on one machine: Java, jars, a broker, a cluster, a generated shop, the demo, `make live`.

Settings and event files come in; without event files a month is generated.
Out come running processes, tables and a report.
"""
