"""Scores of answers against references, each with the interval in which it would lie with other questions."""
