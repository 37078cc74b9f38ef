"""The version of this program, where every layer can read it; the newest entry of CHANGELOG.md bears it
too.
"""

__version__ = "0.1.0"
