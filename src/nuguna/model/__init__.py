"""A model in memory: loaded, given an adapter, opened from a run, answering."""
