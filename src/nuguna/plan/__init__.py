"""Decisions with their reasons; nothing is loaded and nothing computed on a device."""
