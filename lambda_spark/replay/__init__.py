"""Event files into the topic, and rejected messages into it again, each record exactly once.

Event files, or rows of `rejected_events`, come in.
Out come messages with their file and line as headers, at a chosen speed or as fast as the broker accepts them.
"""
