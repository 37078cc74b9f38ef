"""Sentences for people, units, and what must not be said aloud."""
