"""What `make` brings to one machine: Java, jars, a broker, a cluster, a generated shop, the demo and `make live`.

Settings and, if there are any, own event files come in.
Out go running processes, and tables and a report from one command.
"""
