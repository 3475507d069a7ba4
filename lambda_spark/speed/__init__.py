"""The speed layer: the streams that read the topic, their state, checkpoints and the offsets they cover.

Micro-batches of messages come in.
Out go rows of `events` and `rejected_events` (ingest) and of `recent_brands` (the stateful query), exactly once.
"""
