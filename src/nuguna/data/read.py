"""Open a dataset file and say what is in it. Knows formats and rows, nothing of conversations or tokens."""

from __future__ import annotations

import csv
import io
import json
import os
import re
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
_JSON_GAP = re.compile(r"[ \t\n\r]*[\[{,:]?[ \t\n\r]*")  # what stands before a key or a value


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
    return read_file(DEMO_FOLDER / "train.jsonl") if source == DEMO else read_file(Path(os.path.expanduser(source)))


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
    if os.path.isfile(path):  # Path.is_file raises for a name that is too long
        return
    near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in FORMATS) if os.path.isdir(path.parent) else []
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
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else _ENCODINGS:
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
        values = _load_json(content)
    except (ValueError, RecursionError) as error:
        return BadRow(file, line, _json_problem(error), say("Each line must be one complete JSON object."))
    if not isinstance(values, dict):
        problem = say("a JSON {kind} where an object was expected", kind=type(values).__name__)
        return BadRow(file, line, problem, say('Write the row as an object: {"question": "…", "answer": "…"}'))
    return Row(values, file, line)


def _parse_json(text: str, file: str) -> Iterator[Row | BadRow]:
    try:
        document = _load_json(text)
    except (ValueError, RecursionError) as error:
        fix = say("The file must be one JSON list of objects.")
        yield BadRow(file, getattr(error, "lineno", 1), _json_problem(error), fix)
        return
    for values, line in _json_entries(text, document) if text.strip() else ():
        if isinstance(values, dict):
            yield Row(values, file, line)
        else:
            problem = say("a JSON {kind} where an object was expected", kind=type(values).__name__)
            yield BadRow(file, line, problem, say("Every entry of the list must be an object."))


def _json_entries(text: str, document: Any) -> Iterator[tuple[Any, int]]:
    """(entry, line where it begins) of a list, of the first list in {"data": [...]} and the like, or of a single row."""
    decode = json.JSONDecoder().raw_decode
    start = place = len(text) - len(text.lstrip())
    in_object = isinstance(document, dict) and "messages" not in document  # that is one row, and its list the turns
    if in_object and (name := next((n for n, value in document.items() if isinstance(value, list)), None)) is not None:
        key = None
        while key != name or text[start] != "[":  # the last of two equal names counts
            key, place = decode(text, _gap(text, place))
            start = _gap(text, place)
            place = decode(text, start)[1]
    elif not isinstance(document, list):
        yield document, 1 + text.count("\n", 0, start)
        return
    line, counted, place = 1, 0, _gap(text, start)
    while text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        value, place = decode(text, place)
        yield value, line
        place = _gap(text, place)


def _gap(text: str, place: int) -> int:
    """Where the next key or value begins."""
    found = _JSON_GAP.match(text, place)
    return found.end() if found else place


def _load_json(text: str) -> Any:
    """Parse JSON. Half a surrogate pair, which JSON can spell and no tokenizer reads, raises `ValueError` as bad JSON does."""
    values = json.loads(text)
    if "\\ud" in text.lower():
        json.dumps(values, ensure_ascii=False).encode()
    return values


def _json_problem(error: Exception) -> Message:
    reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", error)
    return say("not valid JSON ({reason})", reason=reason)


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
