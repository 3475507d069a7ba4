"""What an event is: the one parse rule for both layers, its reject reasons, and the records of event files.

Raw messages of the topic and lines of event files come in, as Arrow batches.
Events come out as columns of schemas.PARSED, and everything else with the reason why it isn't an event.
"""
