"""Conversations become batches."""
