"""What the columns of a table mean, found from their names and from what stands in them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from ...errors import DataError
from ...message import Message, say
from ...text.private import masked
from ..files.columns import (
    ANSWERS,
    CONTENT_KEYS,
    CONTEXTS,
    KNOWN,
    PAIRS,
    QUESTIONS,
    ROLE_KEYS,
    SYSTEMS,
    TEXTS,
    TOOLS,
    TURNS,
    join_columns,
    plain,
)
from ..files.json_list import load_json
from ..files.rows import Row, Table, shown_cell
from .options import find_options
from .templated import find_template

NUM_LOOKED_AT = 100  # rows from which the shape is found
MAX_NAMED = 8


class UnclearColumnsError(DataError):
    """It is not clear which columns to train on; `columns` are their names, each with an example."""

    def __init__(self, table: Table, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)
        # the two with most to say, in the order of the file
        wordy = sorted(columns, key=lambda name: len(columns[name]), reverse=True)[:2]
        pair = shlex.quote(join_columns([name for name in columns if name in wordy]))
        super().__init__(
            say(
                "In {file}, it is not clear which column is the question and which is the answer.",
                file=table.name,
            ),
            seen=say("Its columns are: {names}", names=masked(", ".join(sorted(columns))) or "-"),
            fix=say(
                "Name both, for example: DATA_COLUMNS={pair} (or one column of plain text)", pair=masked(pair)
            ),
        )


@dataclass(frozen=True)
class RowShape:
    """Which column plays which part; a part that is not there is ""."""

    kind: str  # messages, pairs, preference, labelled, choices, text, templated
    question: str = ""
    answer: str = ""
    context: str = ""
    system: str = ""
    history: str = ""
    tools: str = ""
    label: str = ""
    template: str = ""  # of a text column that holds whole conversations
    # of multiple choice: one column that holds all possible answers, or one for each
    options: tuple[str, ...] = ()
    counts_from: int = 0  # where numbers that name an option begin
    counts_by: str = ""  # how that is known: `Options` of data/conversations/options.py
    is_text_first: bool = True  # an answer that is one option's text and another's mark means the text
    is_certain: bool = True  # by explicit names, not by what is likely
    notes: tuple[Message, ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """All that are used."""
        parts = (self.question, self.answer, self.context, self.system, self.history, self.tools, self.label)
        return frozenset(filter(None, (*parts, *self.options)))

    @property
    def name(self) -> str:
        """`messages`, or the columns as `question+answer`."""
        if self.kind == "messages":
            return self.answer
        shown_options = self.options if len(self.options) < 2 else (f"{self.options[0]}…{self.options[-1]}",)
        parts = (self.system, self.question, self.context, *shown_options, self.answer)
        name = "+".join(part for part in parts if part)
        return f"{name} ({self.template})" if self.template else name

    def to_json(self) -> dict[str, Any]:
        """Return all fields, as `from_json` reads them."""
        return {**asdict(self), "notes": [note.to_json() for note in self.notes]}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> RowShape:
        """Return the shape that `to_json` made this of."""
        return cls(
            **{
                **facts,
                "options": tuple(facts["options"]),
                "notes": tuple(map(Message.from_json, facts["notes"])),
            }
        )


def find_shape(table: Table, wish: Sequence[str] = (), like: Sequence[RowShape] = ()) -> RowShape:
    """Return the shape of a table, from its first rows; `wish` are columns that the user named: question and
    answer, or one of text.

    `like` are shapes of other tables of the dataset: where this one does not tell from where its options are
    counted, they may. Raises `DataError` for a table without rows, and `UnclearColumnsError`.
    """
    rows = [item for item in islice(table.items(), NUM_LOOKED_AT) if isinstance(item, Row)]
    columns = {name: None for row in rows for name in row.values if name is not None}
    if wish:
        return _told(table.name, columns, _wished(table, rows, list(columns), wish))
    by_name = {plain(name): name for name in reversed(columns)}
    for find in (_turns, _preference, _choices, _pair, _likely_pair, _text):
        if shape := find(rows, by_name):
            return _told(table.name, columns, _counted(shape, like))
    raise UnclearColumnsError(table, {name: shown_cell(_first(rows, name)) for name in columns})


def extended(shape: RowShape, row: Row) -> RowShape:
    """Return the shape with the columns of a row further down that belong to an example but never are its
    question or answer.
    """
    if shape.kind not in ("messages", "pairs", "choices"):
        return shape
    by_name = {plain(name): name for name in row.values if name is not None and name not in shape.columns}
    found = replace(
        shape, system=shape.system or _named(by_name, SYSTEMS), tools=shape.tools or _named(by_name, TOOLS)
    )
    if shape.kind == "messages":
        return replace(found, options=shape.options or _written_options([row], by_name, shape.answer))
    if shape.kind == "choices":
        return found
    return replace(
        found,
        context=shape.context or _context([row], by_name),
        history=shape.history or by_name.get("history", ""),
    )


def _told(file: str, columns: Iterable[str], shape: RowShape) -> RowShape:
    """Return the shape with a note on the columns that are not used."""
    names = [masked(str(name)) for name in columns if name not in shape.columns and plain(name) not in KNOWN]
    if not names:
        return shape
    listed = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
    return replace(
        shape,
        notes=(*shape.notes, say("Columns of {file} that are not used: {names}", file=file, names=listed)),
    )


def _first(rows: Iterable[Row], name: str) -> Any:
    """Return the first value of a column that is not empty."""
    return next((row.values[name] for row in rows if row.values.get(name) not in (None, "", [])), "")


def _wished(table: Table, rows: Sequence[Row], columns: Sequence[str], wish: Sequence[str]) -> RowShape:
    for name in wish:
        if name not in columns:
            raise DataError(
                say("{file} has no column {name}.", file=table.name, name=repr(name)),
                seen=say("Its columns are: {names}", names=", ".join(sorted(columns)) or "-"),
                fix=say("Write the name exactly as it is in the file."),
            )
    rest = {plain(name): name for name in columns if name not in wish}
    if len(wish) == 1:
        is_dialogue = turns_of(_first(rows, wish[0])) is not None
        return _of_turns(rows, wish[0], rest) if is_dialogue else _of_text(rows, wish[0])
    return _with_rest(RowShape("pairs", wish[0], wish[1]), rows, rest)


def _named(by_name: Mapping[str, str], names: Iterable[str], *others: str) -> str:
    """Return the first of these columns that is there and is none of `others`."""
    return next((by_name[name] for name in names if name in by_name and by_name[name] not in others), "")


def turns_of(value: Any) -> list[Any] | None:
    """Return the list of turns in a cell: itself, or the JSON that a CSV holds; None for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = load_json(value)
        except (ValueError, RecursionError):
            return None
    is_list = isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)
    return value if is_list and any(key in value[0] for key in ROLE_KEYS) else None


def _turns(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    name = _named(by_name, TURNS)
    if name and (turns_of(_first(rows, name)) is not None or plain(name) in TURNS[:2]):
        return _of_turns(rows, name, by_name)
    others = [column for column in by_name.values() if turns_of(_first(rows, column)) is not None]
    # under another name, if it is the only thing there is
    is_all = len(others) == 1 and not any(
        plain(other) in (*QUESTIONS, *ANSWERS, "chosen") for other in by_name.values()
    )
    return _of_turns(rows, others[0], by_name) if is_all else None


def _of_turns(rows: Sequence[Row], name: str, by_name: Mapping[str, str]) -> RowShape:
    options = _written_options(rows, by_name, name)
    return RowShape(
        "messages",
        answer=name,
        system=_named(by_name, SYSTEMS),
        tools=_named(by_name, TOOLS),
        options=options,
    )


def _written_options(rows: Iterable[Row], by_name: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the column of possible answers that `--fix` writes beside turns: the last answer of each row is
    one of them.
    """
    column = by_name.get("choices", "")
    pairs = [
        (turns_of(row.values.get(name)), row.values.get(column))
        for row in rows
        if column and row.values.get(column)
    ]
    is_written = bool(pairs) and all(
        turns and isinstance(texts, list) and any(turns[-1].get(key) in texts for key in CONTENT_KEYS)
        for turns, texts in pairs
    )
    return (column,) if is_written else ()


def _choices(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    """Return a question, its options, and which of them is right."""
    if (found := find_options(rows, by_name)) is None:
        return None
    listed = ", ".join(map(masked, found.columns))
    notes = [
        say(
            "Multiple choice: the options ({columns}) are put below the question, and the letter and text "
            "of the right one are learned.",
            columns=listed,
        )
    ]
    if found.context:
        notes.append(say("The column {context} is put above the question.", context=found.context))
    return RowShape(
        "choices",
        found.question,
        found.answer,
        found.context,
        system=_named(by_name, SYSTEMS, found.question),
        options=found.columns,
        counts_from=found.counts_from,
        counts_by=found.counts_by,
        is_text_first=found.is_text_first,
        notes=tuple(notes),
    )


def _counted(shape: RowShape, like: Sequence[RowShape]) -> RowShape:
    """Return a shape of multiple choice with a note on where its numbers begin to count, which other tables
    may know better.
    """
    if not shape.counts_by:
        return shape
    others = [
        other for other in like if other.counts_by == "rows" and plain(other.answer) == plain(shape.answer)
    ]
    if shape.counts_by == "habit" and others:
        shape = replace(shape, counts_from=others[0].counts_from, counts_by="rows")
    place = {"column": shape.answer, "first": str(shape.counts_from)}
    if shape.counts_by == "rows":
        note = say("{column} counts the options from {first}.", **place)
    else:
        note = say(
            "{column} is assumed to count the options from {first}; the first rows do not show it. Look at "
            "an example before you train; letters (A, B, …) leave no doubt.",
            **place,
        )
    return replace(shape, notes=(*shape.notes, note))


def _preference(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    question = _named(by_name, ("prompt", "question", "instruction", "질문"))
    if {"chosen", "rejected"} <= by_name.keys():
        note = say("This is preference data: only the chosen answers are trained on, as plain examples.")
        template = (
            "" if question else find_template([str(_first([row], by_name["chosen"])) for row in rows]) or ""
        )
        return RowShape(
            "preference",
            question,
            by_name["chosen"],
            system=_named(by_name, SYSTEMS),
            template=template,
            notes=(note,),
        )
    label = by_name.get("label", "")
    labels = [row.values.get(label) for row in rows if row.values.get(label) not in (None, "")]
    if {"prompt", "completion", "label"} <= by_name.keys() and labels and all(map(_is_flag, labels)):
        note = say("These answers are labelled good or bad: only the good ones are trained on.")
        return RowShape("labelled", by_name["prompt"], by_name["completion"], label=label, notes=(note,))
    return None


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or str(value).strip().lower() in ("true", "false", "0", "1", "good", "bad")


def _pair(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    for ask, reply in PAIRS:
        if ask in by_name and reply in by_name:
            return _with_rest(RowShape("pairs", by_name[ask], by_name[reply]), rows, by_name)
    return None


def _likely_pair(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    """Return one column called like a question and one like an answer, which are no customary pair, alone or
    with a word before it.
    """
    questions, answers = (
        [by_name[name] for name in names if name in by_name] for names in (QUESTIONS, ANSWERS)
    )
    if not questions or not answers:
        questions, answers = (
            [column for name, column in by_name.items() if name.removesuffix("s").endswith(names)]
            for names in (QUESTIONS, ANSWERS)
        )
    if len(questions) == len(answers) == 1 and questions != answers:
        return _with_rest(RowShape("pairs", questions[0], answers[0], is_certain=False), rows, by_name)
    return None


def _with_rest(shape: RowShape, rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape:
    """Return the shape with what else belongs to an example: system prompt, context, earlier turns."""
    context = _context(rows, by_name, shape.question, shape.answer)
    notes: tuple[Message, ...] = ()
    if context and plain(context) not in ("input", "입력"):
        notes = (say("The column {context} is put below the question.", context=context),)
    history = by_name.get("history", "")
    parts = (
        shape.kind,
        shape.question,
        shape.answer,
        context,
        _named(by_name, SYSTEMS, shape.question),
        history,
    )
    return RowShape(*parts, tools=_named(by_name, TOOLS), is_certain=shape.is_certain, notes=notes)


def _context(rows: Sequence[Row], by_name: Mapping[str, str], *others: str) -> str:
    context = _named(by_name, CONTEXTS, *others)
    return "" if context and isinstance(_first(rows, context), (list, dict)) else context


def _text(rows: Sequence[Row], by_name: Mapping[str, str]) -> RowShape | None:
    name = _named(by_name, TEXTS)
    words = [
        column
        for column in by_name.values()
        if isinstance(_first(rows, column), str) and _first(rows, column)
    ]
    if name not in words or (len(words) > 1 and plain(name) != "text"):
        return None
    return _of_text(rows, name)


def _of_text(rows: Sequence[Row], name: str) -> RowShape:
    template = find_template([row.values[name] for row in rows if isinstance(row.values.get(name), str)])
    if template is None:
        return RowShape(
            "text", answer=name, notes=(say("Plain text: the model learns to continue it, not to answer."),)
        )
    note = say(
        "The texts contain whole conversations ({template}); they are split into turns.", template=template
    )
    return RowShape("templated", answer=name, template=template, notes=(note,))
