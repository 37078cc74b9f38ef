"""Where data is kept between runs."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from ..errors import EnvironmentFault
from ..message import say


def cache_folder() -> Path:
    """Where encoded examples are kept: $XDG_CACHE_HOME/nuguna/tokens, ~/.cache/nuguna/tokens."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nuguna" / "tokens"


class UnnamedFile(io.BufferedRandom):
    """A file that nobody else sees; it goes with its last owner, however the program ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # closed in __del__
        super().__init__(tempfile.TemporaryFile(dir=folder, buffering=0), 2**20)  # noqa: SIM115

    def __del__(self) -> None:
        self.close()


def no_room(folder: Path, error: OSError) -> EnvironmentFault:
    """A disk that takes no more."""
    return EnvironmentFault(
        say("There is no room for the rows of the dataset."),
        seen=say("{reason}: {folder}", reason=error.strerror or error, folder=folder),
        fix=say("Make room there, or set XDG_CACHE_HOME to a folder on another disk."),
    )
