"""One way to ask the hub."""
