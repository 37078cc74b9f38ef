"""Open a dataset file and say what is in it. Knows formats and rows, nothing of conversations or tokens."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..message import Message, say

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "medical"
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv"}
# tried in order: UTF-8 with or without a mark, then the encoding of Korean Windows
_ENCODINGS = ("utf-8-sig", "cp949")
_MAX_FIELD_CHARS = 10_000_000  # a CSV field longer than this is a missing quote, not a text


@dataclass(frozen=True)
class Row:
    """One record and where it stood: `line` counts from 1 in `file`."""

    values: Mapping[str, Any]
    file: str
    line: int


@dataclass(frozen=True)
class BadRow:
    """A record that cannot be used: where, why, and how to mend it."""

    file: str
    line: int
    problem: Message
    fix: Message


@dataclass(frozen=True)
class Table:
    """Rows of one dataset as they were read."""

    source: str
    format: str
    encoding: str
    rows: tuple[Row, ...]
    bad_rows: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know about a dataset; made from conversations by `data.conversation`."""

    source: str
    num_examples: int
    num_heldout: int  # given apart by the dataset itself; 0: the run sets some aside
    mean_chars: float  # characters of one example, all turns together
    max_chars: int
    has_korean: bool


def open_dataset(source: str) -> Table:
    """Read `demo` or a file. Raises `DataError` when there is no such file, or no table in it."""
    return read_file(DEMO_FOLDER / "train.jsonl") if source == DEMO else read_file(Path(source).expanduser())


def read_file(path: Path) -> Table:
    """Read one JSONL, JSON, CSV or TSV file. Broken lines become `bad_rows`; a file that cannot be read at all raises."""
    _require_file(path)
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            say("The dataset {file} is of a kind that cannot be read.", file=path.name),
            seen=say("Its name ends in {suffix}.", suffix=repr(path.suffix)),
            fix=say("Save it as one of: {kinds}.", kinds=", ".join(FORMATS)),
        )
    text, encoding = _decode(path)
    rows: list[Row] = []
    bad: list[BadRow] = []
    parse = {"jsonl": _parse_jsonl, "json": _parse_json, "csv": _parse_csv, "tsv": _parse_tsv}[kind]
    for item in parse(text, path.name):
        (rows if isinstance(item, Row) else bad).append(item)  # type: ignore[arg-type]
    if not rows:
        raise DataError(
            say("The dataset {file} has no rows that can be read.", file=path.name),
            seen=_first_problem(bad),
            fix=say('Each row needs a question and an answer, for example: {"question": "…", "answer": "…"}'),
        )
    return Table(source=str(path), format=kind, encoding=encoding, rows=tuple(rows), bad_rows=tuple(bad))


def _first_problem(bad: list[BadRow]) -> Message:
    if not bad:
        return say("The file is empty.")
    return say("Line {line}: {problem}", line=bad[0].line, problem=bad[0].problem)


def _require_file(path: Path) -> None:
    if path.is_file():
        return
    near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in FORMATS) if path.parent.is_dir() else []
    if near:
        fix = say("Check the spelling. Datasets in that folder: {names}", names=", ".join(near[:5]))
    else:
        fix = say("Check the spelling, or use the built-in medical set: DATASET=demo")
    raise DataError(say("There is no dataset file {path}.", path=path), fix=fix)


def _decode(path: Path) -> tuple[str, str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            say("The dataset {path} cannot be opened.", path=path),
            seen=say("{reason}", reason=error.strerror or error),
            fix=say("Check that you may read the file: ls -l {path}", path=path),
        ) from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16"), "utf-16"
    for encoding in _ENCODINGS:
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise DataError(
        say("The text encoding of {path} is not known.", path=path),
        seen=say("It is neither UTF-8, UTF-16 nor CP949 (Korean Windows)."),
        fix=say("Open it in an editor or spreadsheet and save it as UTF-8."),
    )


def _parse_jsonl(text: str, file: str) -> Iterator[Row | BadRow]:
    for line, content in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand inside a text
        if content.strip():
            yield _json_row(content, file, line)


def _json_row(content: str, file: str, line: int) -> Row | BadRow:
    try:
        values = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as error:
        problem = say("not valid JSON ({reason})", reason=getattr(error, "msg", "nested too deeply"))
        return BadRow(file, line, problem, say("Each line must be one complete JSON object."))
    if not isinstance(values, dict):
        problem = say("a JSON {kind} where an object was expected", kind=type(values).__name__)
        return BadRow(file, line, problem, say('Write the row as an object: {"question": "…", "answer": "…"}'))
    return Row(values, file, line)


def _parse_json(text: str, file: str) -> Iterator[Row | BadRow]:
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        problem = say("not valid JSON ({reason})", reason=getattr(error, "msg", "nested too deeply"))
        yield BadRow(file, line, problem, say("The file must be one JSON list of objects."))
        return
    if isinstance(document, dict):  # {"data": [...]} and the like
        document = next((value for value in document.values() if isinstance(value, list)), [document])
    for number, values in enumerate(document if isinstance(document, list) else [], 1):
        if isinstance(values, dict):
            yield Row(values, file, number)
        else:
            problem = say("a JSON {kind} where an object was expected", kind=type(values).__name__)
            yield BadRow(file, number, problem, say("Every entry of the list must be an object."))


def _parse_csv(text: str, file: str) -> Iterator[Row | BadRow]:
    return _parse_delimited(text, file, ",")


def _parse_tsv(text: str, file: str) -> Iterator[Row | BadRow]:
    return _parse_delimited(text, file, "\t")


def _parse_delimited(text: str, file: str, delimiter: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(_MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader)]
    except (StopIteration, csv.Error):
        return
    while True:
        line = reader.line_num + 1  # where the row begins; quoted answers may span lines
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(file, line, say("not valid CSV ({reason})", reason=error), say("Check the quotes around this row."))
            continue
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            problem = say("{found} columns where the header has {expected}", found=len(fields), expected=len(header))
            yield BadRow(file, line, problem, say('Put texts that contain commas between double quotes ("…").'))
            continue
        yield Row(dict(zip(header, fields, strict=True)), file, line)
