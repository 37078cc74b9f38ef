"""A clean copy of a dataset, and a list of everything that is different in it: `nuguna data FILE --fix OUT.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import EnvironmentFault, SettingError
from ..message import Message, say
from .conversation import TEXT, Conversation, Turn, as_message
from .dataset import Dataset, described
from .mojibake import mend_mojibake


@dataclass(frozen=True)
class Mended:
    """What was written."""

    path: Path
    changes_path: Path
    num_rows: int
    num_changes: int


def write_mended(dataset: Dataset, path: Path, translate: Callable[[Message], str]) -> Mended:
    """Write the usable conversations without repetitions, in one form. Raises `SettingError` for a file that exists."""
    changes_path = path.with_name(f"{path.stem}_changes.log")  # a name that nobody takes for data
    for place in (path, changes_path):
        if place.exists():
            raise SettingError(
                say("{path} exists already, and nothing of yours is overwritten.", path=place),
                fix=say("Choose another name for --fix, or delete that file."),
            )
    try:
        num_rows = _write_rows(dataset, path)
        num_changes = _write_changes(dataset, changes_path, translate)
    except OSError as error:
        raise EnvironmentFault(
            say("{path} cannot be written.", path=path),
            seen=say("{reason}", reason=error.strerror or error),
            fix=say("Choose another folder for --fix, or make room on the disk."),
        ) from error
    return Mended(path, changes_path, num_rows, num_changes)


def _write_rows(dataset: Dataset, path: Path) -> int:
    seen: set[int] = set()
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        for key, conversation in zip(dataset.content_keys, dataset.train, strict=True):
            if key not in seen:
                seen.add(key)
                file.write(json.dumps(as_row(_mended(conversation)), ensure_ascii=False) + "\n")
    return len(seen)


def _write_changes(dataset: Dataset, path: Path, translate: Callable[[Message], str]) -> int:
    count = 0
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        for change in _changes(dataset):
            file.write(translate(change) + "\n")
            count += 1
    return count


def _changes(dataset: Dataset) -> Iterator[Message]:
    for row in dataset.bad_rows:
        yield say("{row} → left out", row=described(row))
    if (unnamed := dataset.num_bad - len(dataset.bad_rows)) > 0:
        yield say("… and {count} more broken rows → left out", count=f"{unnamed:,}")
    seen: set[int] = set()
    for key, conversation in zip(dataset.content_keys, dataset.train, strict=True):
        place = {"file": conversation.file, "line": conversation.line}
        if key in seen:
            yield say("{file}, line {line}: the same example is there already → left out", **place)
            continue
        seen.add(key)
        for change in _mended(conversation).changes:
            yield say("{file}, line {line}: {change}", change=change, **place)


def _mended(conversation: Conversation) -> Conversation:
    turns = tuple(_mended_turn(turn) for turn in conversation.turns)
    if turns == conversation.turns:
        return conversation
    changes = (*conversation.changes, say("characters read in a wrong encoding were mended"))
    return replace(conversation, turns=turns, changes=changes)


def _mended_turn(turn: Turn) -> Turn:
    mended = mend_mojibake(turn.content)
    return turn if mended is None else replace(turn, content=mended)


def as_row(conversation: Conversation) -> dict[str, Any]:
    """A conversation as one line of JSONL that reads back the same."""
    if conversation.turns[0].role == TEXT:
        return {"text": "".join(turn.content for turn in conversation.turns)}
    row: dict[str, Any] = {"messages": [as_message(turn) for turn in conversation.turns]}
    if conversation.tools:
        row["tools"] = json.loads(conversation.tools)
    if conversation.terms:
        row["terms"] = list(conversation.terms)
    if conversation.lang:
        row["lang"] = conversation.lang
    return row
