"""Conversations of any number: a few stand in memory, many on disk.

What does not fit is written to a file without a name, in the folder where tokens are kept; it goes when the
program ends.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, overload

from ..disk.cache_folder import OwnedFile, cache_folder, no_room, unnamed_file
from ..message import Message
from .conversations.conversation import Conversation, Turn

MAX_CHARS_IN_MEMORY = 64_000_000


class Shelf(Sequence[Conversation]):
    """A sequence that reads from disk what it does not hold."""

    def __init__(self, held: list[Conversation], file: OwnedFile | None, starts: array[int]) -> None:
        self._held, self._file, self._starts = held, file, starts

    def __len__(self) -> int:
        return len(self._held) + len(self._starts) - (1 if self._file else 0)

    @overload
    def __getitem__(self, place: int) -> Conversation: ...
    @overload
    def __getitem__(self, place: slice) -> list[Conversation]: ...
    def __getitem__(self, place: int | slice) -> Conversation | list[Conversation]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        if place < len(self._held):
            return self._held[place]
        assert self._file is not None
        start, stop = self._starts[place - len(self._held)], self._starts[place - len(self._held) + 1]
        self._file.seek(start)
        return read_line(self._file.read(stop - start))


class ShelfWriter:
    """Takes conversations one by one; all of them go to `file`, if there is one."""

    def __init__(self, file: OwnedFile | None = None) -> None:
        self._held: list[Conversation] = []
        self._num_chars = 0
        self._file = file
        self.starts = array("Q", [0] if file else [])

    def add(self, conversation: Conversation) -> None:
        """Put one at the end. Raises `EnvironmentFault` when the disk is full."""
        if self._file is None and self._num_chars < MAX_CHARS_IN_MEMORY:
            self._held.append(conversation)
            self._num_chars += sum(len(turn.content) for turn in conversation.turns)
            return
        line = written_line(conversation)
        self.add_lines(line, [len(line)])

    def add_lines(self, lines: bytes, sizes: Iterable[int]) -> None:
        """Put some at the end, in the form of `written_line`; `sizes` are their bytes. Raises as `add`
        does.
        """
        try:
            if self._file is None:
                self._file = unnamed_file(cache_folder())
                self.starts.append(0)
            self._file.write(lines)
        except OSError as error:
            raise no_room(cache_folder(), error) from error
        self.starts.extend(accumulate(sizes, initial=self.starts.pop()))

    def finish(self) -> Shelf:
        """Return the shelf with all that was put there."""
        if self._file is not None:
            self._file.flush()
        return Shelf(self._held, self._file, self.starts)


def written_line(conversation: Conversation) -> bytes:
    turns = [_fields(turn) for turn in conversation.turns]
    rest = [conversation.file, conversation.line, conversation.terms, conversation.lang, conversation.tools]
    changes = [change.to_json() for change in conversation.changes]
    choices = [conversation.choices] if conversation.choices else []
    return json.dumps([turns, *rest, changes, *choices], ensure_ascii=False).encode() + b"\n"


def _fields(turn: Turn) -> list[Any]:
    """Its values in order; the rest of them has its defaults."""
    if turn.is_trained and not (turn.reasoning or turn.tool_calls or turn.name or turn.call_id):
        return [turn.role, turn.content]
    return [
        turn.role,
        turn.content,
        turn.reasoning,
        turn.tool_calls,
        turn.name,
        turn.call_id,
        turn.is_trained,
    ]


def read_line(line: bytes) -> Conversation:
    turns, file, number, terms, lang, tools, changes, *choices = json.loads(line)
    made: list[Any] = [Turn(*turn) for turn in turns]
    said = tuple(Message.from_json(change) for change in changes)
    return Conversation(tuple(made), file, number, tuple(terms), lang, tools, tuple(*choices), said)
