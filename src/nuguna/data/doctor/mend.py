"""A clean copy of a dataset, and a list of everything that is different in it: `nuguna data FILE --fix
OUT.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import EnvironmentFault, SettingError
from ...message import Message, say
from ..conversations.conversation import TEXT, Conversation, Turn, as_message
from ..dataset import Dataset, described
from .mojibake import fix_mojibake

FIXABLE = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Fixed:
    """What was written."""

    paths: tuple[Path, ...]  # conversations, plain texts, and what is only measured, as far as there are any
    changes_path: Path
    num_rows: int
    num_changes: int


@dataclass(frozen=True)
class _Part:
    """Conversations of one file; `keys` are theirs, equal for equal content."""

    path: Path
    keys: Sequence[int]
    conversations: Sequence[Conversation]
    is_wanted: Callable[[Conversation], bool] = lambda conversation: True

    def rows(self) -> Iterator[tuple[Conversation, bool]]:
        """Yield each conversation, and whether the same stood before it."""
        seen: set[int] = set()
        for key, conversation in zip(self.keys, self.conversations, strict=True):
            if self.is_wanted(conversation):
                yield conversation, key in seen
                seen.add(key)


def write_fixed(dataset: Dataset, path: Path, translate: Callable[[Message], str]) -> Fixed:
    """Write the usable conversations without repetitions, in one form. Raises `SettingError` for a file that
    exists.
    """
    if path.suffix.lower() not in FIXABLE:
        raise SettingError(
            say("The clean copy is written as JSONL, so it cannot be named {path}.", path=path),
            fix=say("Use a name that ends in .jsonl: --fix {path}", path=path.with_suffix(".jsonl")),
        )
    parts = _parts(dataset, path)
    changes_path = path.with_name(f"{path.stem}_changes.log")  # a name that nobody takes for data
    for place in (*(part.path for part in parts), changes_path):
        if place.exists():
            raise SettingError(
                say("{path} already exists, and your files are never overwritten.", path=place),
                fix=say("Choose another name for --fix, or delete that file."),
            )
    try:
        num_rows = sum(map(_write_rows, parts))
        num_changes = _write_changes(dataset, parts, changes_path, translate)
    except OSError as error:
        raise EnvironmentFault(
            say("{path} cannot be written.", path=path),
            seen=say("{reason}", reason=error.strerror or error),
            fix=say("Choose another folder for --fix, or free some disk space."),
        ) from error
    return Fixed(tuple(part.path for part in parts), changes_path, num_rows, num_changes)


def _parts(dataset: Dataset, path: Path) -> list[_Part]:
    """Return one file for conversations and one for plain texts, since a file has one shape, and one for what
    is only measured.
    """

    def beside(word: str) -> Path:
        return path.with_name(f"{path.stem}_{word}{path.suffix}")

    keys, rows = dataset.content_keys, dataset.train
    if len({shape.kind == "text" for shape in dataset.shapes}) > 1:
        parts = [
            _Part(path, keys, rows, lambda row: not _is_text(row)),
            _Part(beside("texts"), keys, rows, _is_text),
        ]
    else:
        parts = [_Part(path, keys, rows)]
    return parts + ([_Part(beside("test"), dataset.heldout_keys, dataset.heldout)] if dataset.heldout else [])


def _is_text(conversation: Conversation) -> bool:
    return conversation.turns[0].role == TEXT


def _write_rows(part: _Part) -> int:
    count = 0
    with open(part.path, "x", encoding="utf-8", newline="\n") as file:
        for conversation, is_repeated in part.rows():
            if not is_repeated:
                count += 1
                file.write(json.dumps(as_row(_mended(conversation)), ensure_ascii=False) + "\n")
    return count


def _write_changes(
    dataset: Dataset, parts: Sequence[_Part], path: Path, translate: Callable[[Message], str]
) -> int:
    count = 0
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        for change in _changes(dataset, parts):
            file.write(translate(change) + "\n")
            count += 1
    return count


def _changes(dataset: Dataset, parts: Sequence[_Part]) -> Iterator[Message]:
    for row in (*dataset.bad_rows, *dataset.heldout_bad_rows):
        yield say("{row} → left out", row=described(row))
    if (unnamed := dataset.num_bad - len(dataset.bad_rows)) > 0:
        yield say("… and {count} more broken rows → left out", count=f"{unnamed:,}")
    if dataset.num_unwanted:
        yield say(
            "{count} answers labelled as bad or not to be learned → left out",
            count=f"{dataset.num_unwanted:,}",
        )
    for part in parts:
        for conversation, is_repeated in part.rows():
            place = {"file": conversation.file, "line": conversation.line}
            if is_repeated:
                yield say("{file}, line {line}: the same example occurs earlier → left out", **place)
                continue
            for change in _mended(conversation).changes:
                yield say("{file}, line {line}: {change}", change=change, **place)


def _mended(conversation: Conversation) -> Conversation:
    turns = tuple(_mended_turn(turn) for turn in conversation.turns)
    if turns == conversation.turns:
        return conversation
    choices = tuple(fix_mojibake(choice) or choice for choice in conversation.choices)
    changes = (*conversation.changes, say("characters read in the wrong encoding were fixed"))
    return replace(conversation, turns=turns, choices=choices, changes=changes)


def _mended_turn(turn: Turn) -> Turn:
    mended = fix_mojibake(turn.content)
    return turn if mended is None else replace(turn, content=mended)


def as_row(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation as one line of JSONL that reads back the same."""
    if _is_text(conversation):
        return {"text": "".join(turn.content for turn in conversation.turns)}
    row: dict[str, Any] = {"messages": [_message(turn) for turn in conversation.turns]}
    if conversation.tools:
        row["tools"] = json.loads(conversation.tools)
    if conversation.terms:
        row["terms"] = list(conversation.terms)
    if conversation.lang:
        row["lang"] = conversation.lang
    if conversation.choices:
        row["choices"] = list(conversation.choices)
    return row


def _message(turn: Turn) -> dict[str, Any]:
    return as_message(turn) if turn.is_trained else {**as_message(turn), "weight": 0}
