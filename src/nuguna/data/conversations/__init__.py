"""A row becomes a conversation."""
