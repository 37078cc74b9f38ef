"""Whole files, the run folder and its lock, the cache."""
