"""Rows of a dataset as they were read, before anybody knows what they mean."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...message import Message, say
from ...text.private import masked


@dataclass(frozen=True)
class Row:
    """One record and where it stood: `line` counts from 1 in `file`."""

    values: Mapping[str, Any]
    file: str
    line: int


@dataclass(frozen=True)
class BadRow:
    """A record that cannot be used: where, what was seen there, why, and how to mend it."""

    file: str
    line: int
    problem: Message
    fix: Message
    column: str = ""
    value: str = ""  # the beginning of what stood there
    is_unwanted: bool = False  # sound, and not to be trained: an answer labelled as bad

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `bad_rows` in JSON."""
        own = {"file": self.file, "line": self.line, "problem": str(self.problem), "fix": str(self.fix)}
        return {
            **own,
            **({"column": self.column} if self.column else {}),
            **({"value": self.value} if self.value else {}),
        }


Item = Row | BadRow | Message  # what reading a table gives: its records, and what there is to say on the way
MAX_SHOWN = 60
NO_TEXT = re.compile("[\ud800-\udfff]")  # halves of a character, and bytes that are none


def shown_cell(value: object) -> str:
    """Return the beginning of a value on one line, as a message shows it, with private data masked before it
    is cut.
    """
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(masked(NO_TEXT.sub("�", written[: 4 * MAX_SHOWN])).split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def kind_of(value: object) -> Message:
    """Return what a value is, in words."""
    if value is None:
        return say("nothing (null)")
    if isinstance(value, bool):
        return say("a true/false value")
    if isinstance(value, (int, float)):
        return say("a number")
    if isinstance(value, str):
        return say("text")
    return say("a list") if isinstance(value, (list, tuple)) else say("an object")


@dataclass(frozen=True)
class Table:
    """One file of a dataset. `items` reads it from the beginning each time it is called."""

    name: str
    format: str
    encoding: str  # "" for formats that are no text
    digest: str  # SHA-256 of the content
    num_bytes: int
    items: Callable[[], Iterator[Item]]
    lines: Callable[[], Iterator[str]] | None = None  # of a table that has one JSON object a line
    notes: tuple[Message, ...] = ()
    heldout: Table | None = None  # what the same file keeps for measuring
    path: Path | None = None
    stamp: tuple[int, int] = (0, 0)  # size and time of change of the file before it was looked at

    def has_changed(self) -> bool:
        """Return whether somebody wrote to the file since."""
        return self.path is not None and stamp_of(self.path) != self.stamp


def stamp_of(path: Path) -> tuple[int, int]:
    """Return (bytes, time of the last change in nanoseconds) of a file."""
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns
