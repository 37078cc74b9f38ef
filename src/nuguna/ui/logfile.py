"""training_log_*.log: plain text, one line an event, flushed at once, so that `tail -f` shows a run live."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TextIO

from ..text.redaction import redact


class LogFile:
    """One log of one run, in the folder where the command was started. A folder that cannot be written gets
    no log.
    """

    def __init__(self, folder: Path) -> None:
        now = datetime.datetime.now()
        self.path = folder / f"training_log_{now:%Y%m%d_%H%M%S}.log"
        number = 1
        while self.path.exists():  # two runs in one second
            number += 1
            self.path = folder / f"training_log_{now:%Y%m%d_%H%M%S}_{number}.log"
        self._file: TextIO | None = None
        try:
            self._file = open(self.path, "x", encoding="utf-8")  # noqa: SIM115 - open for the length of the run
        except OSError:
            self.path = Path(os.devnull)

    def write(self, text: str) -> None:
        """Add lines with the time before each."""
        if self._file is None:
            return
        for line in redact(text).splitlines():
            self._file.write(f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        self._file.flush()

    def close(self, *, keep: bool = True) -> None:
        """End of the run; the log of one that never began is not kept."""
        if self._file is not None:
            self._file.close()
            if not keep:
                self.path.unlink(missing_ok=True)
