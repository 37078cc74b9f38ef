"""Read tables from end to end, and remember large ones, so that a second start need not read them again."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import json
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..disk.cache_folder import OwnedFile, keep_small, rows_folder
from ..message import Message, say
from .conversation_store import Shelf, ShelfWriter
from .conversations.conversation import Conversation
from .conversations.shape import NUM_LOOKED_AT, RowShape, extended, find_shape
from .conversations.turns import to_conversation
from .counts import RowCounts
from .files.columns import KNOWN, plain
from .files.rows import BadRow, Item, Row, Table
from .parallel import Known, chunks_of, num_processes, read_chunks

MAX_SAID = 5  # notes on columns that begin late
READING_VERSION = 4  # raised whenever other conversations come of the same rows
# bytes of a file that is worth the quarter of a second that other processes take to start
MIN_SHARED = 32_000_000
MIN_REMEMBERED = 64_000_000  # bytes of tables that are worth remembering: some seconds of reading
MAX_BYTES = 16 * 2**30  # of all remembered rows together; what was used longest ago is deleted
SPARE = 1.5  # times the size of the tables must be free on the disk
EVERY_SECONDS = 0.5  # so often somebody is told how far it is


@contextmanager
def without_collection() -> Iterator[None]:
    """While the block runs, Python does not look for cycles: millions of small objects, none of which refers
    back to another, cost it a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Reading(RowCounts):
    """All tables of one part, read from end to end."""

    def __init__(self, tables: Iterable[Table], like: Sequence[RowShape] = ()) -> None:
        super().__init__()
        self.tables, self.like = tuple(tables), tuple(like)
        self.shapes: list[RowShape] = []
        self.said: list[Message] = []  # on the way, such as of columns that begin further down
        self.conversations: Sequence[Conversation] = ()

    def read(
        self, table: Table, wish: Sequence[str], writer: ShelfWriter, on_rows: Callable[[int], None]
    ) -> None:
        """Read one table to its end; `wish` are columns that the user named."""
        current = _TableReading(self, table, wish, writer)
        told = time.monotonic()
        for num_rows in current.run():
            if time.monotonic() > told + EVERY_SECONDS:
                told = time.monotonic()
                on_rows(num_rows)
        if current.shape is not None:
            self.shapes.append(current.shape)

    def notes(self) -> list[Message]:
        """Return what was assumed, chosen and put in order."""
        made = [note for table in self.tables for note in table.notes] + [
            note for shape in self.shapes for note in shape.notes
        ]
        for table, shape in zip(self.tables, self.shapes, strict=False):
            if not shape.is_certain:
                pair = {"question": shape.question, "answer": shape.answer}
                made.append(
                    say(
                        "In {file}, {question} is taken as the question and {answer} as the answer.",
                        file=table.name,
                        **pair,
                    )
                )
        made += self.said
        if 0 < self.num_reasoning < len(self.content_keys):
            counts = {"count": f"{self.num_reasoning:,}", "total": f"{len(self.content_keys):,}"}
            made.append(
                say(
                    "{count} of {total} conversations contain thoughts, so the model is trained in its "
                    "thinking mode.",
                    **counts,
                )
            )
        if self.num_changed:
            made.append(
                say("Turns were put in order in {count} conversations.", count=f"{self.num_changed:,}")
            )
        if self.num_unwanted:
            made.append(
                say(
                    "{count} answers are labelled as bad or not to be learned, and are not trained on.",
                    count=f"{self.num_unwanted:,}",
                )
            )
        return made


class _TableReading:
    """One table on its way into a reading."""

    def __init__(self, reading: Reading, table: Table, wish: Sequence[str], writer: ShelfWriter) -> None:
        self._reading, self._table, self._wish, self._writer = reading, table, wish, writer
        self.shape: RowShape | None = None
        self._columns: set[str] = set()
        self._first = reading.num_rows

    def run(self) -> Iterator[int]:
        """Read all rows; gives the number of rows of the reading from time to time."""
        lines, count = self._table.lines, num_processes()
        if lines is None or self._table.num_bytes < MIN_SHARED or not count:
            yield from self._read(self._table.items())
            return
        chunks = chunks_of(lines(), self._table.name)
        while self.shape is None and (chunk := next(chunks, None)):  # what is known comes of the first rows
            yield from self._read(chunk.rows())
        for chunk, found in read_chunks(chunks, self._known, count):
            if found is None:
                yield from self._read(chunk.rows())
            else:
                self._reading.add(found.counts)
                self._writer.add_lines(found.lines, found.sizes)
                yield self._reading.num_rows

    def _known(self) -> Known:
        assert self.shape is not None
        return Known(self.shape, frozenset(self._columns))

    def _read(self, items: Iterable[Item]) -> Iterator[int]:
        reading = self._reading
        for item in items:
            if isinstance(item, Message):
                reading.said.append(item)
                continue
            reading.num_rows += 1
            if reading.num_rows % 1000 == 0:
                yield reading.num_rows
            made = to_conversation(item, self._shape_for(item)) if isinstance(item, Row) else item
            if isinstance(made, BadRow):
                reading.leave_out(made)
            else:
                self._writer.add(made)
                reading.take(made)

    def _shape_for(self, row: Row) -> RowShape:
        """Return the shape, with what columns mean that begin further down than the rows it was found from;
        others are told.
        """
        self.shape = self.shape or find_shape(
            self._table, self._wish, (*self._reading.like, *self._reading.shapes)
        )
        if row.values.keys() <= self._columns:
            return self.shape
        new = [name for name in row.values if name not in self._columns]
        self._columns.update(new)
        if self._wish or self._reading.num_rows - self._first <= NUM_LOOKED_AT:
            return self.shape
        self.shape = extended(self.shape, row)
        unused = [name for name in new if name not in self.shape.columns and plain(str(name)) not in KNOWN]
        if unused and len(self._reading.said) < MAX_SAID:
            place = {"file": row.file, "line": row.line, "names": ", ".join(map(str, unused))}
            self._reading.said.append(
                say(
                    "From line {line} of {file} onwards there are other columns, which are not used: {names}",
                    **place,
                )
            )
        return self.shape


def read_or_recall(
    tables: Sequence[Table],
    columns: Sequence[str],
    on_rows: Callable[[int], None],
    like: Sequence[RowShape] = (),
) -> Reading:
    """Return what reading the tables gives; large ones are remembered by their content. `like`: shapes of the
    dataset's other parts.
    """
    size = sum(table.num_bytes for table in tables)
    if not tables or size < MIN_REMEMBERED:
        return _read(Reading(tables, like), columns, ShelfWriter(), on_rows)
    path = rows_folder() / f"{_key(tables, columns, like)}.rows"
    if (found := _recalled(path, tables)) is not None:
        return found
    return _read_and_remember(Reading(tables, like), columns, path, size, on_rows)


def _read(
    reading: Reading, columns: Sequence[str], writer: ShelfWriter, on_rows: Callable[[int], None]
) -> Reading:
    with without_collection():
        for table in reading.tables:
            reading.read(table, columns, writer, on_rows)
    reading.conversations = writer.finish()
    return reading


def _key(tables: Sequence[Table], columns: Sequence[str], like: Sequence[RowShape]) -> str:
    counted = [(shape.answer, shape.counts_from) for shape in like if shape.counts_by]
    facts = [
        READING_VERSION,
        [(table.name, table.digest, table.format) for table in tables],
        list(columns),
        counted,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read_and_remember(
    reading: Reading, columns: Sequence[str], path: Path, size: int, on_rows: Callable[[int], None]
) -> Reading:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < SPARE * size:
            return _read(reading, columns, ShelfWriter(), on_rows)
        file = OwnedFile(io.FileIO(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "r+"))
    except OSError:
        return _read(reading, columns, ShelfWriter(), on_rows)
    try:
        writer = ShelfWriter(file)
        _read(reading, columns, writer, on_rows)
        with contextlib.suppress(OSError):
            # else it is not what the digest says
            if not any(table.has_changed() for table in reading.tables):
                _write_index(reading, writer.starts, path.with_suffix(".index"))
                os.replace(beside, path)
            _clean(path.parent)
        return reading
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _clean(folder: Path) -> None:
    keep_small(folder, "*.rows", MAX_BYTES)
    for index in folder.glob("*.index"):
        if not index.with_suffix(".rows").exists():
            index.unlink()


def _write_index(reading: Reading, starts: array[int], path: Path) -> None:
    arrays = {"starts": starts, **reading.arrays()}
    facts = reading.to_json()
    facts["shapes"] = [shape.to_json() for shape in reading.shapes]
    facts["said"] = [note.to_json() for note in reading.said]
    beside = path.with_suffix(f".index.{os.getpid()}")
    save_file(
        {name: np.frombuffer(a, dtype=np.uint64) for name, a in arrays.items()},
        beside,
        {"facts": json.dumps(facts)},
    )
    os.chmod(beside, 0o600)
    os.replace(beside, path)


def _recalled(path: Path, tables: Sequence[Table]) -> Reading | None:
    try:
        with safe_open(path.with_suffix(".index"), framework="np") as index:
            facts: dict[str, Any] = json.loads(index.metadata()["facts"])
            starts, *keys = (_array(index.get_tensor(name)) for name in ("starts", *RowCounts().arrays()))
        file = OwnedFile(io.FileIO(path, "r+"))
        reading = Reading(tables)
        reading.set_to(facts, dict(zip(reading.arrays(), keys, strict=True)))
        reading.shapes = list(map(RowShape.from_json, facts["shapes"]))
        reading.said = list(map(Message.from_json, facts["said"]))
        is_whole = os.path.getsize(path) == starts[-1] and all(
            len(starts) == len(numbers) + 1 for numbers in keys
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        return None
    if not is_whole:
        return None
    reading.conversations = Shelf([], file, starts)
    with contextlib.suppress(OSError):
        os.utime(path)  # it was used now
    return reading


def _array(values: Any) -> array[int]:
    made = array("Q")
    made.frombytes(values.tobytes())
    return made
