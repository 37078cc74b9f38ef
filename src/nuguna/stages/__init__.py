"""The stages of a run: a plan becomes plain values, what happens becomes events."""
