"""A dataset as conversations: every row read, checked and counted. Raises before anything else is loaded."""

from __future__ import annotations

import gc
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..message import Message, say
from .conversation import Conversation
from .read import DEMO, DataFacts, open_dataset
from .rows import BadRow, Row, Table
from .shape import Shape, UnclearColumnsError, find_shape
from .shelf import Shelf, ShelfWriter
from .similar import content_key, question_key
from .turns import to_conversation

MOST_BAD = 0.01  # share of broken rows that may be left out; above, the file is not what its owner thinks
MOST_KEPT = 100_000  # bad rows that are remembered one by one
NUM_SHOWN = 10  # of them in a message


class BadRowsError(DataError):
    """Too many rows are broken; they are all here."""

    def __init__(self, source: str, bad_rows: Sequence[BadRow], num_bad: int, num_rows: int, *, advice: Message) -> None:
        self.source, self.bad_rows, self.num_bad, self.num_rows = source, tuple(bad_rows), num_bad, num_rows
        if num_bad == num_rows:
            what = say("No row of {source} can be trained on.", source=source)
        else:
            what = say(
                "{count} of {total} rows of {source} cannot be used.", count=f"{num_bad:,}", total=f"{num_rows:,}", source=source
            )
        super().__init__(what, seen=listing(bad_rows), fix=advice)

    def with_list(self, path: Path) -> BadRowsError:
        """The same error, once all rows are listed in a file."""
        fix = say("{fix} All of them: {path}", fix=self.fix, path=path)
        return BadRowsError(self.source, self.bad_rows, self.num_bad, self.num_rows, advice=fix)


def listing(bad_rows: Sequence[BadRow]) -> Message:
    """The first of them, a line each: where, what, how to mend it."""
    lines = [described(row) for row in bad_rows[:NUM_SHOWN]]
    return Message("\n".join(f"{{line_{i}}}" for i in range(len(lines))), {f"line_{i}": line for i, line in enumerate(lines)})


def described(row: BadRow) -> Message:
    """One broken row in a sentence or two."""
    place = {"file": row.file, "line": row.line, "problem": row.problem, "fix": row.fix}
    if row.value:
        return say("{file}, line {line}: {problem} (it says: {value}). {fix}", **place, value=row.value)
    return say("{file}, line {line}: {problem}. {fix}", **place)


@dataclass(frozen=True)
class Dataset:
    """All conversations of a dataset, apart from what the dataset itself sets aside for measuring."""

    source: str
    tables: tuple[Table, ...]
    shapes: tuple[Shape, ...]  # of each table
    train: Sequence[Conversation]
    heldout: Sequence[Conversation]  # same subjects, other wordings; empty: the run sets some of `train` aside
    unseen: Sequence[Conversation]  # subjects that training does not contain; measured beside `heldout`
    bad_rows: tuple[BadRow, ...]
    num_rows: int  # of the tables for training, good and bad
    num_bad: int
    num_unwanted: int  # rows that are sound and not to be trained, such as answers labelled bad
    question_keys: array[int]
    content_keys: array[int]
    num_chars: int
    max_chars: int
    has_korean: bool
    has_reasoning: bool
    num_changed: int
    notes: tuple[Message, ...]

    @property
    def shape(self) -> str:
        """The names of all shapes there are."""
        return ", ".join(dict.fromkeys(shape.name for shape in self.shapes))


def load_dataset(source: str, columns: Sequence[str] = ()) -> Dataset:
    """Open `source` and turn its rows into conversations; `columns` are those the user named.

    Raises `DataError`: `UnclearColumnsError` when it cannot be known what to train on, `BadRowsError` when more than one row in a
    hundred is broken.
    """
    dataset = read_all(source, columns)
    if dataset.num_bad > MOST_BAD * dataset.num_rows:
        raise BadRowsError(source, dataset.bad_rows, dataset.num_bad, dataset.num_rows, advice=_advice(source, dataset))
    if not dataset.train:
        raise _nothing(source, dataset.num_unwanted)
    return dataset


def _advice(source: str, dataset: Dataset) -> Message:
    if not dataset.train:
        return say("See what is in the file: nuguna data {source}", source=source)
    return say("Correct them, or write a file without them: nuguna data {source} --fix clean.jsonl", source=source)


def _nothing(source: str, num_unwanted: int) -> DataError:
    return DataError(
        say("The dataset {source} holds nothing to train on.", source=source),
        seen=say("All of its {count} answers are labelled as bad.", count=num_unwanted)
        if num_unwanted
        else say("It has no rows."),
        fix=say('Each row needs a question and an answer, for example: {"question": "…", "answer": "…"}'),
    )


def read_all(source: str, columns: Sequence[str] = ()) -> Dataset:
    """The dataset, however many of its rows are broken. Raises `DataError` only when nothing can be made of it at all."""
    tables = open_dataset(source)
    with without_collection():
        train, heldout, unseen = (_Reading(part, columns) for part in (tables.train, tables.heldout, tables.unseen))
    notes = [*tables.notes, *(note for part in (train, heldout) for note in part.notes())]
    return Dataset(
        source=source,
        tables=tables.train,
        shapes=tuple(train.shapes),
        train=train.conversations,
        heldout=heldout.conversations,
        unseen=unseen.conversations,
        bad_rows=tuple(train.bad_rows),
        num_rows=train.num_rows,
        num_bad=train.num_bad,
        num_unwanted=train.num_unwanted,
        question_keys=train.question_keys,
        content_keys=train.content_keys,
        num_chars=train.num_chars,
        max_chars=train.max_chars,
        has_korean=train.has_korean,
        has_reasoning=train.has_reasoning,
        num_changed=train.num_changed,
        notes=tuple({str(note): note for note in notes}.values()),
    )


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


class _Reading:
    """All tables of one part, read from end to end."""

    def __init__(self, tables: Iterable[Table], columns: Sequence[str]) -> None:
        self.tables = tuple(tables)
        self.shapes: list[Shape] = []
        self.bad_rows: list[BadRow] = []
        self.num_rows = self.num_bad = self.num_unwanted = self.num_chars = self.max_chars = self.num_changed = 0
        self.has_korean = self.has_reasoning = False
        self.question_keys, self.content_keys = array("Q"), array("Q")
        writer = ShelfWriter()
        for table in self.tables:
            self._read(table, columns, writer)
        self.conversations: Shelf = writer.finish()

    def _read(self, table: Table, columns: Sequence[str], writer: ShelfWriter) -> None:
        shape: Shape | None = None
        for item in table.items():
            self.num_rows += 1
            if isinstance(item, Row):
                shape = shape or find_shape(table, columns)
                made = to_conversation(item, shape)
            else:
                made = item
            if isinstance(made, BadRow):
                self._leave_out(made)
            else:
                self._take(made, writer)
        if shape is not None:
            self.shapes.append(shape)

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
        num_chars = sum(len(turn.content) for turn in conversation.turns)
        self.num_chars += num_chars
        self.max_chars = max(self.max_chars, num_chars)
        self.num_changed += bool(conversation.changes)
        if not self.has_korean and len(self.content_keys) <= 100:
            self.has_korean = any("가" <= char <= "힣" for turn in conversation.turns for char in turn.content)
        self.has_reasoning = self.has_reasoning or any(turn.reasoning for turn in conversation.turns)

    def notes(self) -> list[Message]:
        """What was assumed, chosen and put in order."""
        made = [note for table in self.tables for note in table.notes] + [note for shape in self.shapes for note in shape.notes]
        for table, shape in zip(self.tables, self.shapes, strict=False):
            if not shape.is_certain:
                pair = {"question": shape.question, "answer": shape.answer}
                made.append(
                    say("In {file}, {question} is taken for the question and {answer} for the answer.", file=table.name, **pair)
                )
        if self.num_changed:
            made.append(say("In {count} conversations turns were put in order.", count=f"{self.num_changed:,}"))
        if self.num_unwanted:
            made.append(say("{count} answers are labelled as bad and are not trained.", count=f"{self.num_unwanted:,}"))
        return made


def describe(dataset: Dataset) -> DataFacts:
    """The facts that planning needs."""
    return DataFacts(
        source=dataset.source,
        num_examples=len(dataset.train),
        num_heldout=len(dataset.heldout),
        mean_chars=dataset.num_chars / max(1, len(dataset.train)),
        max_chars=dataset.max_chars,
        has_korean=dataset.has_korean,
    )


def fingerprint(dataset: Dataset) -> str:
    """What is trained on, whatever the order of the rows: the same words give the same letters."""
    return hashlib.sha256(array("Q", sorted(dataset.content_keys)).tobytes()).hexdigest()


__all__ = ["DEMO", "BadRowsError", "Dataset", "UnclearColumnsError", "describe", "fingerprint", "load_dataset", "read_all"]
