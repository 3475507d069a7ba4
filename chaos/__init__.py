"""A campaign of faults against the whole pipeline, as real processes: what it must not lose, and not count twice."""
