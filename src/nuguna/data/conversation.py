"""Rows of any accepted shape → conversations, one form for everything that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from ..message import say
from .read import DEMO, DEMO_FOLDER, BadRow, DataFacts, Row, Table, open_dataset, read_file

ROLES = ("system", "user", "assistant")
# column names by which people call the two halves of an example, most explicit first
_PAIRS = (
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("input", "output"),
    ("q", "a"),
    ("질문", "답변"),
    ("질문", "답"),
)


@dataclass(frozen=True)
class Turn:
    """One utterance; role is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """Turns in order, ending with the assistant. `terms` are words a right answer must contain, where the dataset names them."""

    turns: tuple[Turn, ...]
    file: str
    line: int
    terms: tuple[str, ...] = ()
    lang: str = ""

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """All turns before the last answer."""
        return self.turns[:-1]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.turns[-1].content


@dataclass(frozen=True)
class Dataset:
    """All conversations of a dataset, apart from what the dataset itself sets aside for measuring."""

    source: str
    shape: str
    train: tuple[Conversation, ...]
    heldout: tuple[Conversation, ...]  # same subjects, other wordings; empty: the run sets some of `train` aside
    unseen: tuple[Conversation, ...]  # subjects that training does not contain; measured beside `heldout`
    bad_rows: tuple[BadRow, ...]


def load_dataset(source: str) -> Dataset:
    """Open `source` and turn its rows into conversations. Raises `DataError` when none can be used."""
    shape, train, bad = to_conversations(open_dataset(source))
    heldout: tuple[Conversation, ...] = ()
    unseen: tuple[Conversation, ...] = ()
    if source == DEMO:
        heldout = to_conversations(read_file(DEMO_FOLDER / "heldout_phrasings.jsonl"))[1]
        unseen = to_conversations(read_file(DEMO_FOLDER / "heldout_conditions.jsonl"))[1]
    return Dataset(source, shape, train, heldout, unseen, bad)


def describe(dataset: Dataset) -> DataFacts:
    """The facts that planning needs."""
    lengths = [sum(len(turn.content) for turn in c.turns) for c in dataset.train]
    return DataFacts(
        source=dataset.source,
        num_examples=len(dataset.train),
        num_heldout=len(dataset.heldout),
        mean_chars=sum(lengths) / len(lengths),
        max_chars=max(lengths),
        has_korean=any("가" <= char <= "힣" for c in dataset.train[:100] for turn in c.turns for char in turn.content),
    )


def to_conversations(table: Table) -> tuple[str, tuple[Conversation, ...], tuple[BadRow, ...]]:
    """(name of the shape, conversations, rows left out). The shape is found once, from all column names of the table."""
    shape = find_shape(table)
    good: list[Conversation] = []
    bad = list(table.bad_rows)
    for row in table.rows:
        result = _from_messages(row) if shape == "messages" else _from_columns(row, shape)
        if isinstance(result, Conversation):
            good.append(result)
        else:
            bad.append(result)
    if not good:
        raise DataError(
            say("No row of {file} can be trained on.", file=table.rows[0].file),
            seen=say("Line {line}: {problem}", line=bad[0].line, problem=bad[0].problem),
            fix=bad[0].fix,
        )
    return shape, tuple(good), tuple(bad)


def find_shape(table: Table) -> str:
    """`messages`, or two column names as `question+answer`. Raises `DataError` naming the columns that were seen."""
    columns = {name for row in table.rows[:100] for name in row.values if name is not None}
    by_lower = {name.lower(): name for name in columns}
    if "messages" in by_lower:
        return "messages"
    if {"instruction", "output"} <= by_lower.keys():
        return f"{by_lower['instruction']}+{by_lower['output']}"
    for ask, reply in _PAIRS:
        if ask in by_lower and reply in by_lower:
            return f"{by_lower[ask]}+{by_lower[reply]}"
    raise DataError(
        say("In {file} it is not clear what is the question and what is the answer.", file=table.rows[0].file),
        seen=say("Its columns are: {names}", names=", ".join(sorted(columns)) or "-"),
        fix=say("Name two columns question and answer."),
    )


def _from_columns(row: Row, shape: str) -> Conversation | BadRow:
    ask, reply = shape.split("+")
    question, answer = row.values.get(ask), row.values.get(reply)
    extra = None
    if ask.lower() == "instruction":
        extra = next((value for name, value in row.values.items() if name.lower() == "input"), None)
    for name, value in ((ask, question), (reply, answer)):
        if not isinstance(value, str) or not value.strip():
            return BadRow(row.file, row.line, say("{column} is empty", column=name), say("Fill it in or delete the row."))
    if isinstance(extra, str) and extra.strip():
        question = f"{question}\n\n{extra}"
    return _conversation(row, (Turn("user", str(question).strip()), Turn("assistant", str(answer).strip())))


def _from_messages(row: Row) -> Conversation | BadRow:
    messages = row.values.get("messages")
    if not isinstance(messages, list) or not messages:
        fix = say('Write a list: [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]')
        return BadRow(row.file, row.line, say("messages is not a list of turns"), fix)
    turns: list[Turn] = []
    for message in messages:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, Mapping) else (None, None)
        if role not in ROLES:
            fix = say("Use the roles {roles}.", roles=", ".join(ROLES))
            return BadRow(row.file, row.line, say("a turn has the role {role}", role=repr(role)), fix)
        if not isinstance(content, str) or not content.strip():
            return BadRow(
                row.file, row.line, say("a turn of the {role} is empty", role=role), say("Fill it in or delete the row.")
            )
        turns.append(Turn(role, content.strip()))
    while turns and turns[-1].role != "assistant":  # a question without an answer teaches nothing
        turns.pop()
    if not any(turn.role == "user" for turn in turns):
        return BadRow(
            row.file, row.line, say("there is no question with an answer"), say("Add a user turn and an assistant turn.")
        )
    return _conversation(row, tuple(turns))


def _conversation(row: Row, turns: tuple[Turn, ...]) -> Conversation:
    return Conversation(turns, row.file, row.line, _texts(row.values.get("terms")), str(row.values.get("lang") or ""))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
