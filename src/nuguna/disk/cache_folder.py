"""Where data is kept between runs."""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path

from ..errors import EnvironmentFault
from ..message import say

STALE_SECONDS = 86_400.0  # a half written file of yesterday belongs to nobody


def cache_folder() -> Path:
    """Return where encoded examples are kept: $XDG_CACHE_HOME/nuguna/tokens, ~/.cache/nuguna/tokens."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nuguna" / "tokens"


class OwnedFile(io.BufferedRandom):
    """A file that is closed with its last owner."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw, 2**20)

    def __del__(self) -> None:
        self.close()


def unnamed_file(folder: Path) -> OwnedFile:
    """Return a file that nobody else sees; it goes with its owner, however the program ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return OwnedFile(tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115 - closed with its owner


def no_room(folder: Path, error: OSError) -> EnvironmentFault:
    """Return a disk that takes no more."""
    return EnvironmentFault(
        say("There is not enough disk space for the rows of the dataset."),
        seen=say("{reason}: {folder}", reason=error.strerror or error, folder=folder),
        fix=say("Free some space there, or set XDG_CACHE_HOME to a folder on another disk."),
    )


def rows_folder() -> Path:
    """Return where the rows of large datasets are kept: beside the tokens."""
    return cache_folder().parent / "rows"


def keep_small(folder: Path, pattern: str, most_bytes: int) -> None:
    """Delete what was used longest ago, until the rest fits, and what a killed program left half written."""
    for path in folder.iterdir():
        if path.suffix[1:].isdecimal() and path.stat().st_mtime < time.time() - STALE_SECONDS:
            path.unlink(missing_ok=True)
    files = [(path.stat(), path) for path in folder.glob(pattern)]
    room = most_bytes
    for facts, path in sorted(files, key=lambda item: item[0].st_mtime, reverse=True):
        room -= facts.st_size
        if room < 0:
            path.unlink(missing_ok=True)
