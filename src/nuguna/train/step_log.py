"""metrics.jsonl: one line for each optimizer step, also over an interruption."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..disk.durable import write_over

if TYPE_CHECKING:  # brings torch, which reading a log does without
    from .loop import Step


@dataclass(frozen=True)
class LoggedStep:
    """What metrics.jsonl says of one optimizer step; `loss` is None for a skipped one."""

    step: int
    loss: float | None
    learning_rate: float
    tokens_per_second: float
    memory_bytes: int


_DRAWN = [item.name for item in fields(LoggedStep)]


class StepLog:
    """The steps of a run as they are on disk. A disk that is full stops no training: the lines wait for
    room.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # None before the first line: what an earlier run left is forgotten then
        self._waiting: list[str] | None = None

    def go_on(self, last_step: int) -> None:
        """Forget the steps after the checkpoint: they are done again."""
        kept = [line for line in self._lines() if _step_of(line) <= last_step]
        self._waiting = []
        try:
            write_over(self._path, "".join(kept).encode())
        except OSError:
            self._waiting = kept

    def add(self, step: Step) -> None:
        """One more step."""
        line = {name: value for name, value in vars(step).items() if name != "max_steps"}
        if self._waiting is None:
            self._waiting = []
            self._path.unlink(missing_ok=True)
        self._waiting.append(json.dumps(line) + "\n")
        with suppress(OSError):
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("".join(self._waiting))
            self._waiting = []

    def steps(self) -> list[LoggedStep]:
        """Return every step that was done, as the report draws it; the last line of a step, where a full disk
        left two.
        """
        found = {_step_of(line): line for line in [*self._lines(), *(self._waiting or [])]}
        lines = [json.loads(found[step]) for step in sorted(found)]
        return [LoggedStep(**{name: line[name] for name in _DRAWN}) for line in lines]

    def _lines(self) -> list[str]:
        """Whole lines with their ends; one that was cut off by an interruption is none."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines(keepends=True) if _step_of(line) > 0]


def _step_of(line: str) -> int:
    """Return the number of its step; 0 if it is no whole line."""
    try:
        document = json.loads(line)
        return int(document["step"]) if set(_DRAWN) <= set(document) and line.endswith("\n") else 0
    except (ValueError, KeyError, TypeError):
        return 0
