"""metrics.jsonl: one line for each optimizer step, also over an interruption."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from .report.outcome import LoggedStep

if TYPE_CHECKING:  # brings torch, which reading a log does without
    from .train import Step

_DRAWN = [item.name for item in fields(LoggedStep)]


class StepLog:
    """The steps of a run as they are on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self) -> None:
        """Forget what an earlier run left."""
        self._path.unlink(missing_ok=True)

    def go_on(self, last_step: int) -> None:
        """Forget the steps after the checkpoint: they are done again."""
        if not self._path.exists():
            return
        kept = []
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(text)["step"] <= last_step:
                    kept.append(text + "\n")
            except (ValueError, KeyError):
                break  # the last line was cut off by the interruption
        self._path.write_text("".join(kept), encoding="utf-8")

    def add(self, step: Step) -> None:
        """One more step."""
        line = {name: value for name, value in vars(step).items() if name != "max_steps"}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def steps(self) -> list[LoggedStep]:
        """Every step that was done, as the report draws it."""
        lines = map(json.loads, self._path.read_text(encoding="utf-8").splitlines())
        return [LoggedStep(**{name: line[name] for name in _DRAWN}) for line in lines]
