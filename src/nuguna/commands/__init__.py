"""The commands that people type, in rooms by what they are for. Nothing heavy is imported before a command
needs it.
"""
