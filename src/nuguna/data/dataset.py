"""A dataset as conversations: every row read, checked and counted. Raises before anything else is loaded."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..message import Message, say
from ..text.private import masked
from .conversations.conversation import Conversation
from .conversations.shape import RowShape, UnclearColumnsError
from .facts import DEMO, DataFacts
from .files.read import open_dataset
from .files.rows import BadRow, Table
from .reading import read_or_recall

MAX_BAD = 0.01  # share of broken rows that may be left out; above, the file is not what its owner thinks
MIN_KOREAN = 0.05  # share of conversations with Hangul from which on the model should know Korean
MAX_NOTES = 12
NUM_SHOWN = 10  # of them in a message


class BadRowsError(DataError):
    """Too many rows are broken; they are all here."""

    def __init__(
        self, source: str, bad_rows: Sequence[BadRow], num_bad: int, num_rows: int, *, advice: Message
    ) -> None:
        self.source, self.bad_rows, self.num_bad, self.num_rows = source, tuple(bad_rows), num_bad, num_rows
        if num_bad == num_rows:
            what = say("No row of {source} can be trained on.", source=source)
        else:
            what = say(
                "{count} of {total} rows of {source} cannot be used.",
                count=f"{num_bad:,}",
                total=f"{num_rows:,}",
                source=source,
            )
        super().__init__(what, seen=listing(bad_rows), fix=advice)

    def with_list(self, path: Path) -> BadRowsError:
        """Return the same error, once its rows are listed in a file."""
        if len(self.bad_rows) < self.num_bad:
            fix = say(
                "{fix} The first {count} of them: {path}",
                fix=self.fix,
                count=f"{len(self.bad_rows):,}",
                path=path,
            )
        else:
            fix = say("{fix} All of them: {path}", fix=self.fix, path=path)
        return BadRowsError(self.source, self.bad_rows, self.num_bad, self.num_rows, advice=fix)


def listing(bad_rows: Sequence[BadRow]) -> Message:
    """Return the first of them, a line each: where, what, how to mend it."""
    lines = [described(row) for row in bad_rows[:NUM_SHOWN]]
    return Message(
        "\n".join(f"{{line_{i}}}" for i in range(len(lines))),
        {f"line_{i}": line for i, line in enumerate(lines)},
    )


def described(row: BadRow) -> Message:
    """Return one broken row in a sentence or two."""
    place = {"file": row.file, "line": row.line, "problem": row.problem, "fix": row.fix}
    if row.value:
        return say(
            "{file}, line {line}: {problem} (it says: {value}). {fix}", **place, value=masked(row.value)
        )
    return say("{file}, line {line}: {problem}. {fix}", **place)


@dataclass(frozen=True)
class Dataset:
    """All conversations of a dataset, apart from what the dataset itself sets aside for measuring."""

    source: str
    tables: tuple[Table, ...]
    shapes: tuple[RowShape, ...]  # of each table
    train: Sequence[Conversation]
    # same subjects, other wordings; empty: the run sets some of `train` aside
    heldout: Sequence[Conversation]
    unseen: Sequence[Conversation]  # subjects that training does not contain; measured beside `heldout`
    bad_rows: tuple[BadRow, ...]
    num_rows: int  # of the tables for training, good and bad
    num_bad: int
    heldout_bad_rows: tuple[BadRow, ...]  # of the part for measuring
    num_unwanted: int  # rows that are sound and not to be trained, such as answers labelled bad
    question_keys: array[int]
    content_keys: array[int]
    heldout_keys: array[int]  # content keys of `heldout`
    num_chars: int
    max_chars: int
    # characters of conversations: the middle of each twentieth, from the shortest on
    quantile_chars: tuple[int, ...]
    has_korean: bool  # in one conversation of twenty or more
    has_reasoning: bool  # in any
    system: str  # what the system says in every conversation, "" if that differs
    num_changed: int
    notes: tuple[Message, ...]

    @property
    def shape(self) -> str:
        """The names of all shapes there are."""
        return ", ".join(dict.fromkeys(shape.name for shape in self.shapes))


def load_dataset(
    source: str, columns: Sequence[str] = (), on_rows: Callable[[int], None] = lambda count: None
) -> Dataset:
    """Open `source` and turn its rows into conversations; `columns` are those the user named.

    Raises `DataError`: `UnclearColumnsError` when it cannot be known what to train on, `BadRowsError` when
    more than one row in a hundred is broken.
    """
    dataset = read_all(source, columns, on_rows)
    if dataset.num_bad > MAX_BAD * dataset.num_rows:
        raise BadRowsError(
            source, dataset.bad_rows, dataset.num_bad, dataset.num_rows, advice=_advice(source, dataset)
        )
    if not dataset.train:
        raise _nothing(source, dataset.num_unwanted)
    return dataset


def _advice(source: str, dataset: Dataset) -> Message:
    if not dataset.train:
        return say("See what is in the file: nuguna data {source}", source=source)
    return say(
        "Correct them, or write a file without them: nuguna data {source} --fix clean.jsonl", source=source
    )


def _nothing(source: str, num_unwanted: int) -> DataError:
    return DataError(
        say("The dataset {source} contains nothing to train on.", source=source),
        seen=say("All of its {count} answers are labelled as bad or not to be learned.", count=num_unwanted)
        if num_unwanted
        else say("It has no rows."),
        fix=say('Each row needs a question and an answer, for example: {"question": "…", "answer": "…"}'),
    )


def read_all(
    source: str, columns: Sequence[str] = (), on_rows: Callable[[int], None] = lambda count: None
) -> Dataset:
    """Return the dataset, however many of its rows are broken. Raises `DataError` only when nothing can be
    made of it at all.

    `on_rows` is told from time to time how many rows were read.
    """
    tables = open_dataset(source)
    train = read_or_recall(tables.train, columns, on_rows)
    heldout, unseen = (
        read_or_recall(part, columns, on_rows, train.shapes) for part in (tables.heldout, tables.unseen)
    )
    # our own set has columns for its makers; nobody needs to hear of them
    found = () if source == DEMO else (note for part in (train, heldout) for note in part.notes())
    notes = [*tables.notes, *found]
    if heldout.num_bad:
        notes.append(
            say(
                "{count} broken rows of the part used for measuring are left out.",
                count=f"{heldout.num_bad:,}",
            )
        )
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
        heldout_bad_rows=tuple(heldout.bad_rows),
        num_unwanted=train.num_unwanted,
        question_keys=train.question_keys,
        content_keys=train.content_keys,
        heldout_keys=heldout.content_keys,
        num_chars=train.num_chars,
        max_chars=train.max_chars,
        quantile_chars=tuple(train.quantile_chars((number + 0.5) / 20) for number in range(20)),
        has_korean=train.num_korean > 0 and train.num_korean >= MIN_KOREAN * len(train.conversations),
        has_reasoning=train.num_reasoning > 0,
        system=next(iter(train.systems)) if len(train.systems) == 1 else "",
        num_changed=train.num_changed,
        notes=_few(list({str(note): note for note in notes}.values())),
    )


def _few(notes: list[Message]) -> tuple[Message, ...]:
    """Return the first of them; a folder of a thousand files needs no thousand sentences."""
    if len(notes) <= MAX_NOTES:
        return tuple(notes)
    return *notes[:MAX_NOTES], say("… and {count} more notes like this", count=len(notes) - MAX_NOTES)


def describe(dataset: Dataset) -> DataFacts:
    """Return the facts that planning needs."""
    return DataFacts(
        source=dataset.source,
        num_examples=len(dataset.train),
        num_heldout=len(dataset.heldout),
        mean_chars=dataset.num_chars / max(1, len(dataset.train)),
        max_chars=dataset.max_chars,
        quantile_chars=dataset.quantile_chars,
        has_korean=dataset.has_korean,
        num_unseen=len(dataset.unseen),
    )


def fingerprint(dataset: Dataset) -> str:
    """Return what is trained on, whatever the order of the rows: the same words give the same letters."""
    return hashlib.sha256(array("Q", sorted(dataset.content_keys)).tobytes()).hexdigest()


__all__ = [
    "BadRowsError",
    "Dataset",
    "UnclearColumnsError",
    "describe",
    "fingerprint",
    "load_dataset",
    "read_all",
]
