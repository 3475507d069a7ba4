"""What a user viewed lately: the merge rule of recent brands, over Arrow tables.

Events come in, or lists that were merged before.
Out go lists per user, newest brand first and at most 50 long, or the same packed by shard of users for the state.
"""
