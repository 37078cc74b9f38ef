"""A file of predictions and references, as pairs of texts: what `nuguna score` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path

from ..errors import DataError
from ..message import say
from .dataset import listing
from .files.columns import plain
from .files.read import open_table
from .files.rows import BadRow, Row, Table, kind_of, shown_cell
from .files.text import open_text

PREDICTIONS = (
    *(
        "prediction",
        "predictions",
        "predicted",
        "hypothesis",
        "hyp",
        "generated",
        "candidate",
        "modelanswer",
        "modeloutput",
        "after",
    ),
    *(
        "예측",
        "예측값",
        "생성",
        "생성문",
        "모델답변",
        "모델답",
        "output",
        "response",
        "answer",
        "completion",
        "답변",
        "응답",
        "출력",
    ),
)
REFERENCES = (
    *("reference", "references", "ref", "target", "gold", "groundtruth", "expected", "label", "truth"),
    *("정답", "참조", "참조문", "모범답안", "기준"),
)


@dataclass(frozen=True)
class Pairs:
    """Texts side by side."""

    predictions: tuple[str, ...]
    references: tuple[str, ...]
    names: tuple[str, str]  # of the two columns or files


def read_pairs(source: Path, references: Path | None = None, columns: Sequence[str] = ()) -> Pairs:
    """Pairs from a table with a column of each, or from two text files line by line.

    Raises `DataError` where columns are not clear, a cell is no text, or the files are not equally long.
    """
    if references is not None:
        return _of_two_files(source, references)
    _require(source)
    table = open_table(source, source.name)
    if table.format == "text":
        raise DataError(
            say("{file} is plain text: a second file with the right answers is needed.", file=source.name),
            fix=say("Give both, with matching lines: nuguna score predictions.txt references.txt"),
        )
    return _of_table(table, columns)


def _require(path: Path) -> None:
    if not path.is_file():
        raise DataError(
            say("There is no file {path}.", path=path),
            fix=say("Check the spelling, or see what is there: ls {folder}", folder=path.parent),
        )


def _of_two_files(predictions: Path, references: Path) -> Pairs:
    found: list[tuple[str, str]] = []
    for path in (predictions, references):
        _require(path)
    missing = object()
    lines = (open_text(path).lines() for path in (predictions, references))
    for number, (a, b) in enumerate(zip_longest(*lines, fillvalue=missing), 1):
        if not isinstance(a, str) or not isinstance(b, str):
            shorter = predictions if a is missing else references
            raise DataError(
                say("The two files have different numbers of lines."),
                seen=say("{file} ends after {count} lines.", file=shorter.name, count=f"{number - 1:,}"),
                fix=say("Each line must hold the answer to the same line of the other file."),
            )
        found.append((a.rstrip("\r\n"), b.rstrip("\r\n")))
    return _made(found, (predictions.name, references.name))


def _of_table(table: Table, columns: Sequence[str]) -> Pairs:
    prediction, reference = _columns(table, columns)
    found: list[tuple[str, str]] = []
    bad: list[BadRow] = []
    for item in table.items():
        if isinstance(item, BadRow):
            bad.append(item)
        elif isinstance(item, Row):
            pair = [_text(item, name, bad) for name in (prediction, reference)]
            found.append((pair[0], pair[1]))
    if bad:
        raise DataError(
            say("{count} rows of {file} cannot be scored.", count=f"{len(bad):,}", file=table.name),
            seen=listing(bad),
            fix=say("Correct them: a score over only some of the rows could not be compared."),
        )
    return _made(found, (prediction, reference))


def _text(row: Row, name: str, bad: list[BadRow]) -> str:
    value = row.values.get(name)
    if isinstance(value, bool | int | float):
        return str(value)
    if not isinstance(value, str):
        problem = say("{kind} where text was expected", kind=kind_of(value))
        bad.append(
            BadRow(
                row.file, row.line, problem, say("Write a text; it may be empty."), name, shown_cell(value)
            )
        )
        return ""
    return value.strip()


def _columns(table: Table, wish: Sequence[str]) -> tuple[str, str]:
    names = list(
        dict.fromkeys(
            name for item in islice(table.items(), 100) if isinstance(item, Row) for name in item.values
        )
    )
    if wish:
        if len(wish) != 2 or any(name not in names for name in wish):
            raise _unclear(table, names)
        return wish[0], wish[1]
    by_name = {plain(name): name for name in reversed(names)}
    reference = next((by_name[name] for name in REFERENCES if name in by_name), None)
    prediction = next(
        (by_name[name] for name in PREDICTIONS if name in by_name and by_name[name] != reference), None
    )
    if prediction is None or reference is None:
        raise _unclear(table, names)
    return prediction, reference


def _unclear(table: Table, names: Sequence[str]) -> DataError:
    return DataError(
        say(
            "In {file}, it is not clear which column is the prediction and which is the right answer.",
            file=table.name,
        ),
        seen=say("Its columns are: {names}", names=", ".join(names) or "-"),
        fix=say("Name both columns, the prediction first: --columns prediction,reference"),
    )


def _made(found: Sequence[tuple[str, str]], names: tuple[str, str]) -> Pairs:
    if not found:
        raise DataError(
            say("There is nothing to score: no pair was found."),
            fix=say("Each row needs a prediction and a reference."),
        )
    return Pairs(tuple(a for a, _ in found), tuple(b for _, b in found), names)
