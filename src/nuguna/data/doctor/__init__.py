"""What is odd in the data, and what can be done about it."""
