"""Read tables from end to end, and remember large ones, so that a second start need not read them again."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import math
import os
import re
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..message import Message, say
from .conversation import Conversation
from .folders import OwnedFile, keep_small, rows_folder
from .names import KNOWN, plain
from .rows import BadRow, Row, Table
from .shape import NUM_LOOKED_AT, Shape, extended, find_shape
from .shelf import Shelf, ShelfWriter
from .similar import content_key, question_key
from .turns import to_conversation

MOST_SAID = 5  # notes on columns that begin late
MOST_KEPT = 100_000  # bad rows that are remembered one by one
VERSION = 2  # raised whenever other conversations come of the same rows
LEAST_REMEMBERED = 64_000_000  # bytes of tables that are worth remembering: some seconds of reading
MOST_BYTES = 16 * 2**30  # of all remembered rows together; what was used longest ago is deleted
SPARE = 1.5  # times the size of the tables must be free on the disk
STEPS_A_DOUBLING = 8  # of the histogram of lengths: each step is 9 % wide
_HANGUL = re.compile("[가-힣]")
EVERY_SECONDS = 0.5  # so often somebody is told how far it is


@contextmanager
def without_collection() -> Iterator[None]:
    """Within, Python does not look for cycles: millions of small objects, none of which refers back to another, cost it
    a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Reading:
    """All tables of one part, read from end to end."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self.tables = tuple(tables)
        self.shapes: list[Shape] = []
        self.said: list[Message] = []  # on the way, such as of columns that begin further down
        self.bad_rows: list[BadRow] = []
        self.num_rows = self.num_bad = self.num_unwanted = self.num_chars = self.max_chars = self.num_changed = 0
        self.length_counts = [0] * (40 * STEPS_A_DOUBLING)  # conversations by the logarithm of their characters
        self.num_korean = self.num_reasoning = 0
        self.systems: set[str] = set()  # what the system says in different conversations; two are enough to know that they differ
        self.question_keys, self.content_keys = array("Q"), array("Q")
        self.conversations: Sequence[Conversation] = ()

    def read(self, table: Table, columns: Sequence[str], writer: ShelfWriter, on_rows: Callable[[int], None]) -> None:
        """Read one table to its end."""
        shape: Shape | None = None
        first = self.num_rows
        self._columns: set[str] = set()
        told = time.monotonic()
        for item in table.items():
            if isinstance(item, Message):
                self.said.append(item)
                continue
            self.num_rows += 1
            if self.num_rows % 1000 == 0 and time.monotonic() > told + EVERY_SECONDS:
                told = time.monotonic()
                on_rows(self.num_rows)
            if isinstance(item, Row):
                shape = shape or find_shape(table, columns)
                if not item.values.keys() <= self._columns:
                    shape = self._with_columns(item, shape, is_late=self.num_rows - first > NUM_LOOKED_AT and not columns)
                made = to_conversation(item, shape)
            else:
                made = item
            if isinstance(made, BadRow):
                self._leave_out(made)
            else:
                self._take(made, writer)
        if shape is not None:
            self.shapes.append(shape)

    def _with_columns(self, row: Row, shape: Shape, *, is_late: bool) -> Shape:
        """The shape with what columns mean that begin further down than the rows it was found from; others are told."""
        new = [name for name in row.values if name not in self._columns]
        self._columns.update(new)
        if not is_late:
            return shape
        longer = extended(shape, row)
        unused = [name for name in new if name not in longer.columns and plain(str(name)) not in KNOWN]
        if unused and len(self.said) < MOST_SAID:
            place = {"file": row.file, "line": row.line, "names": ", ".join(map(str, unused))}
            self.said.append(say("From line {line} of {file} on there are other columns, which are not used: {names}", **place))
        return longer

    def _leave_out(self, row: BadRow) -> None:
        if row.is_unwanted:
            self.num_unwanted += 1
            return
        self.num_bad += 1
        if len(self.bad_rows) < MOST_KEPT:
            self.bad_rows.append(row)

    def _take(self, conversation: Conversation, writer: ShelfWriter) -> None:
        writer.add(conversation)
        self.question_keys.append(question_key(conversation))
        self.content_keys.append(content_key(conversation))
        num_chars, is_korean, thinks = 0, False, False
        for turn in conversation.turns:  # one loop: this is done for each of millions of rows
            content = turn.content
            num_chars += len(content)
            is_korean = is_korean or (not content.isascii() and _HANGUL.search(content) is not None)
            thinks = thinks or turn.reasoning != ""
        self.num_korean += is_korean
        self.num_reasoning += thinks
        self.num_chars += num_chars
        self.max_chars = max(self.max_chars, num_chars)
        self.length_counts[math.ceil(STEPS_A_DOUBLING * math.log2(max(1, num_chars)))] += 1
        self.num_changed += bool(conversation.changes)
        if len(self.systems) < 2:
            self.systems.add(conversation.system)

    def quantile_chars(self, share: float) -> int:
        """As many characters as this share of the conversations has at most, within 5 %."""
        left = share * sum(self.length_counts)
        for step, count in enumerate(self.length_counts):
            left -= count
            if left <= 0:
                return min(self.max_chars, math.ceil(2 ** ((step - 0.5) / STEPS_A_DOUBLING)))
        return self.max_chars

    def notes(self) -> list[Message]:
        """What was assumed, chosen and put in order."""
        made = [note for table in self.tables for note in table.notes] + [note for shape in self.shapes for note in shape.notes]
        for table, shape in zip(self.tables, self.shapes, strict=False):
            if not shape.is_certain:
                pair = {"question": shape.question, "answer": shape.answer}
                made.append(
                    say("In {file}, {question} is taken for the question and {answer} for the answer.", file=table.name, **pair)
                )
        made += self.said
        if 0 < self.num_reasoning < len(self.content_keys):
            counts = {"count": f"{self.num_reasoning:,}", "total": f"{len(self.content_keys):,}"}
            made.append(
                say("{count} of {total} conversations hold thoughts, so the model is trained in its thinking mode.", **counts)
            )
        if self.num_changed:
            made.append(say("In {count} conversations turns were put in order.", count=f"{self.num_changed:,}"))
        if self.num_unwanted:
            made.append(
                say(
                    "{count} answers are labelled as bad or not to be learned, and are not trained.",
                    count=f"{self.num_unwanted:,}",
                )
            )
        return made


def read_or_recall(tables: Sequence[Table], columns: Sequence[str], on_rows: Callable[[int], None]) -> Reading:
    """What reading the tables gives; large ones are remembered by their content."""
    size = sum(table.num_bytes for table in tables)
    if not tables or size < LEAST_REMEMBERED:
        return _read(tables, columns, ShelfWriter(), on_rows)
    path = rows_folder() / f"{_key(tables, columns)}.rows"
    if (found := _recalled(path, tables)) is not None:
        return found
    return _read_and_remember(tables, columns, path, size, on_rows)


def _read(tables: Sequence[Table], columns: Sequence[str], writer: ShelfWriter, on_rows: Callable[[int], None]) -> Reading:
    reading = Reading(tables)
    with without_collection():
        for table in tables:
            reading.read(table, columns, writer, on_rows)
    reading.conversations = writer.finish()
    return reading


def _key(tables: Sequence[Table], columns: Sequence[str]) -> str:
    facts = [VERSION, [(table.name, table.digest, table.format) for table in tables], list(columns)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read_and_remember(
    tables: Sequence[Table], columns: Sequence[str], path: Path, size: int, on_rows: Callable[[int], None]
) -> Reading:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < SPARE * size:
            return _read(tables, columns, ShelfWriter(), on_rows)
        file = OwnedFile(io.FileIO(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+"))
    except OSError:
        return _read(tables, columns, ShelfWriter(), on_rows)
    try:
        writer = ShelfWriter(file)
        reading = _read(tables, columns, writer, on_rows)
        with contextlib.suppress(OSError):
            if not any(table.has_changed() for table in tables):  # else it is not what the digest says
                _write_index(reading, writer.starts, path.with_suffix(".index"))
                os.replace(beside, path)
            _clean(path.parent)
        return reading
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _clean(folder: Path) -> None:
    keep_small(folder, "*.rows", MOST_BYTES)
    for index in folder.glob("*.index"):
        if not index.with_suffix(".rows").exists():
            index.unlink()


def _write_index(reading: Reading, starts: array[int], path: Path) -> None:
    arrays = {"starts": starts, "questions": reading.question_keys, "contents": reading.content_keys}
    facts = {name: getattr(reading, name) for name in _COUNTED}
    facts["shapes"] = [{**asdict(shape), "notes": [note.to_json() for note in shape.notes]} for shape in reading.shapes]
    facts["systems"] = sorted(reading.systems)
    facts["said"] = [note.to_json() for note in reading.said]
    facts["bad_rows"] = [{**vars(row), "problem": row.problem.to_json(), "fix": row.fix.to_json()} for row in reading.bad_rows]
    beside = path.with_suffix(f".index.{os.getpid()}")
    save_file({name: np.frombuffer(a, dtype=np.uint64) for name, a in arrays.items()}, beside, {"facts": json.dumps(facts)})
    os.chmod(beside, 0o600)
    os.replace(beside, path)


_COUNTED = (
    *("num_rows", "num_bad", "num_unwanted", "num_chars", "max_chars", "length_counts", "num_changed"),
    *("num_korean", "num_reasoning"),
)


def _recalled(path: Path, tables: Sequence[Table]) -> Reading | None:
    try:
        with safe_open(path.with_suffix(".index"), framework="np") as index:
            facts: dict[str, Any] = json.loads(index.metadata()["facts"])
            starts, questions, contents = (_array(index.get_tensor(name)) for name in ("starts", "questions", "contents"))
        file = OwnedFile(io.FileIO(path, "r+"))
        reading = Reading(tables)
        for name in _COUNTED:
            setattr(reading, name, facts[name])
        reading.shapes = [Shape(**{**shape, "notes": tuple(map(Message.from_json, shape["notes"]))}) for shape in facts["shapes"]]
        reading.systems = set(facts["systems"])
        reading.said = list(map(Message.from_json, facts["said"]))
        reading.bad_rows = [_bad_row(row) for row in facts["bad_rows"]]
        is_whole = os.path.getsize(path) == starts[-1] and len(starts) == len(questions) + 1 == len(contents) + 1
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        return None
    if not is_whole:
        return None
    reading.question_keys, reading.content_keys = questions, contents
    reading.conversations = Shelf([], file, starts)
    with contextlib.suppress(OSError):
        os.utime(path)  # it was used now
    return reading


def _array(values: Any) -> array[int]:
    made = array("Q")
    made.frombytes(values.tobytes())
    return made


def _bad_row(facts: dict[str, Any]) -> BadRow:
    return BadRow(**{**facts, "problem": Message.from_json(facts["problem"]), "fix": Message.from_json(facts["fix"])})
