"""What DATASET names, as tables of rows: a file, a folder of files, a dataset on the hub, or the medical set
in the package.

Knows formats and rows, nothing of conversations or tokens.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...errors import DataError
from ...hub.datasets import fetch_dataset, is_hub_name
from ...message import Message, say
from ..facts import DEMO
from .json_rows import list_names, parse_json, parse_jsonl
from .labelled_text import is_asked, parse_asked
from .rows import BadRow, Item, Row, Table, shown_cell, stamp_of
from .sheets import first_filled_sheet, open_parquet, parse_cells, parse_parquet
from .tables import Dialect, find_dialect, is_example, parse_delimited, without_title
from .text import READ_BYTES, TextFile, cannot_open, compression, damaged, open_text, open_unpacked

DEMO_FOLDER = Path(__file__).parents[2] / "demo" / "medical"
FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".xlsx": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
}
PACKED = (".gz", ".zst")
# whatever the name says
_MAGIC = ((b"PAR1", "parquet"), (b"PK\x03\x04", "xlsx"), (b"\xd0\xcf\x11\xe0", "xlsx"))
_NO_DATA = re.compile(r"(readme|licen[cs]e|changelog|notice|contributing|citation)\b", re.IGNORECASE)
# a part of a name by which people keep rows for measuring
_HELDOUT = frozenset(
    "validation valid val dev eval evaluation test testing heldout 테스트 검증 평가 평가용 검증용".split()
)
_SAYS_NOTHING = frozenset(
    "data dataset set split part of small large full final clean v1 v2 데이터 데이터셋 셋".split()
)
_WORD = re.compile(r"[a-z]+|[가-힣]+", re.IGNORECASE)
_LIST = re.compile(r"\[\s*[{\]]")
NUM_LINES = 1000  # of a text, by which is seen whether it holds questions and answers
_TEXT_CHARS = 1000  # of plain text in one row: about what a model reads at once


@dataclass(frozen=True)
class Tables:
    """The tables of a dataset, and those that the dataset itself keeps for measuring."""

    train: tuple[Table, ...]
    heldout: tuple[Table, ...] = ()
    unseen: tuple[Table, ...] = ()
    notes: tuple[Message, ...] = ()


def open_dataset(source: str) -> Tables:
    """Find the files of a dataset and look at each. Raises `DataError` when there is none, or one cannot be
    read.
    """
    if source == DEMO:
        names = ("train", "heldout_phrasings", "heldout_conditions")
        train, heldout, unseen = (open_table(DEMO_FOLDER / f"{name}.jsonl") for name in names)
        return Tables((train,), (heldout,), (unseen,))
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        return _open_folder(path)
    if os.path.isfile(path):  # Path.is_file raises for a name that is too long
        return _together([open_table(path)])
    if os.path.exists(path):
        raise DataError(
            say("{path} is neither a file nor a folder.", path=path),
            fix=say("Choose a file of one of these kinds: {kinds}.", kinds=", ".join(FORMATS)),
        )
    if is_hub_name(source):
        found = fetch_dataset(source)
        return _together(map(open_table, found.train), map(open_table, found.heldout), notes=found.notes)
    raise _missing(path)


def _together(train: Iterable[Table], heldout: Iterable[Table] = (), notes: Sequence[Message] = ()) -> Tables:
    """Tables with what single files keep for measuring."""
    tables = tuple(train)
    inner = tuple(table.heldout for table in tables if table.heldout is not None)
    return Tables(tables, (*heldout, *inner), notes=tuple(notes))


def _missing(path: Path) -> DataError:
    near = sorted(p.name for p in path.parent.glob("*") if format_of(p)) if os.path.isdir(path.parent) else []
    if near:
        fix = say("Check the spelling. Datasets in that folder: {names}", names=", ".join(near[:5]))
    else:
        fix = say("Check the spelling, or use the built-in medical set: DATASET=demo")
    return DataError(say("There is no dataset file {path}.", path=path), fix=fix)


def format_of(path: Path) -> str:
    """Return the format that a name promises, "" for none."""
    name = path.name.lower()
    ending = next((ending for ending in PACKED if name.endswith(ending)), "")
    return FORMATS.get(os.path.splitext(name.removesuffix(ending))[1], "")


def _open_folder(folder: Path) -> Tables:
    files, unread = _files_in(folder)
    tables = [path for path in files if format_of(path) != "text"]
    chosen = tables or files  # notes that lie beside tables are no data
    if not chosen:
        raise DataError(
            say("The folder {path} contains no dataset.", path=folder),
            seen=say("File names that can be read end in: {kinds}.", kinds=", ".join(FORMATS)),
            fix=say("Put a file there, or choose another folder."),
        )
    heldout = [path for path in chosen if _is_kept_apart(path.relative_to(folder))]
    train = [path for path in chosen if path not in heldout]
    if not train:
        train, heldout = heldout, []
    notes = [say("{count} files of the folder are read: {names}", count=len(train), names=_few(train))]
    if heldout:
        notes.append(say("Kept for measuring, going by their names: {names}", names=_few(heldout)))
    if unread := sorted([*unread, *(path for path in files if path not in chosen)]):
        notes.append(
            say("{count} other files or folders are not read: {names}", count=len(unread), names=_few(unread))
        )

    def opened(paths: Sequence[Path]) -> list[Table]:
        return [open_table(path, str(path.relative_to(folder))) for path in paths]

    return _together(opened(train), opened(heldout), notes=notes)


def _files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (files of data, each once; what else lies there: other kinds, folders that may not be opened).
    Hidden ones are left out.
    """
    files: dict[str, Path] = {}
    unread: list[Path] = []

    def refused(error: OSError) -> None:
        unread.append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # they may lead in circles
        unread += [Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))]
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith((".", "~$")) or _NO_DATA.match(name):
                continue
            if not format_of(path) or not path.is_file():
                unread.append(path)
            else:  # by its own name rather than by that of a link to it
                real = os.path.realpath(path)
                if real not in files or not path.is_symlink():
                    files[real] = path
    return sorted(files.values()), unread


def is_for_measuring(name: str) -> bool:
    """Return whether a name of a file, folder or list says that it is kept for measuring: with its last word,
    or with its first and nothing else that says anything ("test-00000-of-00002", but not "test_results" or
    "covid-test-faq").
    """
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and words[-1] in _SAYS_NOTHING:
        words.pop()
    return bool(words) and words[-1] in _HELDOUT


def _is_kept_apart(path: Path) -> bool:
    stem = path.name.partition(".")[0]
    return any(map(is_for_measuring, (*path.parent.parts, stem)))


def _few(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5]) + (", …" if len(paths) > 5 else "")


def open_table(path: Path, name: str = "") -> Table:
    """Look at one file and find its format. Raises `DataError` for a kind that is not known, and for a
    damaged file.
    """
    name, kind = name or path.name, format_of(path)
    try:
        with open_unpacked(path) as file:
            first = file.read(8)
    except (EOFError, zlib.error, OSError) as error:
        is_denied = isinstance(error, OSError) and error.errno is not None
        raise (cannot_open(path, error) if is_denied else damaged(name, error)) from error  # type: ignore[arg-type]
    kind = next((found for mark, found in _MAGIC if first.startswith(mark) and _is_meant(path, kind)), kind)
    if not kind:
        raise _unknown_kind(path, name)
    stamp = stamp_of(path)  # before anything of it is read
    table = (
        _binary_table(path, name, kind)
        if kind in ("xlsx", "parquet")
        else _text_table(open_text(path), name, kind)
    )
    return replace(table, path=path, stamp=stamp)


def _is_meant(path: Path, kind: str) -> bool:
    """Return whether a file may be what its first bytes say: letters and archives begin like Excel files."""
    return bool(kind) or path.suffix == "" or ("xl/workbook.xml" in _names_in_zip(path))


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return []


def _unknown_kind(path: Path, name: str) -> DataError:
    packed = compression(path) or next(
        (ending for ending in (".zip", ".7z", ".rar", ".tar") if name.endswith(ending)), ""
    )
    return DataError(
        say("The dataset {file} is of a kind that cannot be read.", file=name),
        seen=say("Its name ends in {suffix}.", suffix=repr(path.suffix)),
        fix=say("Unpack it first.")
        if packed
        else say("Save it as one of: {kinds}.", kinds=", ".join(FORMATS)),
    )


def _binary_table(path: Path, name: str, kind: str) -> Table:
    digest, size = _digest(path), os.path.getsize(path)
    if kind == "parquet":
        open_parquet(path)
        return Table(name, kind, "", digest, size, partial(parse_parquet, path, name))
    _, cells, notes = first_filled_sheet(path)
    cells, title = without_title(cells)
    notes = (*notes, _has_title(name, title)) if title else notes
    first = next((row for row in cells if any(str(cell).strip() for cell in row)), [])
    has_header = not is_example([str(cell) for cell in first])
    notes = notes if has_header else (*notes, _no_header(name))
    return Table(
        name, kind, "", digest, size, partial(parse_cells, cells, name, has_header=has_header), notes=notes
    )


def _has_title(name: str, title: str) -> Message:
    return say(
        "In {file}, the text above the column names is taken as a title: {text}",
        file=name,
        text=shown_cell(title),
    )


def _no_header(name: str) -> Message:
    return say(
        "The first line of {file} looks like an example, so the columns are called: column 1, column 2, …",
        file=name,
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _text_table(file: TextFile, name: str, kind: str) -> Table:
    start, notes = file.start(), file.notes()
    actual = _sniff(start, kind)
    if actual != kind and kind != "tsv":
        notes.append(
            say("{file} is read as {kind}, because that is what it contains.", file=name, kind=actual.upper())
        )
    way: Dialect | None = None
    if actual in ("csv", "tsv"):
        way = find_dialect(start, f".{actual}")
        actual = "tsv" if way.delimiter == "\t" else "csv"
        notes += _on_dialect(way, name)
    has_questions = actual == "text" and is_asked(file.start(NUM_LINES))
    if has_questions:
        notes.append(say("{file} contains questions and answers, each after its label.", file=name))
    apart = _parts_for_measuring(file, start) if actual == "json" else frozenset()

    def items() -> Iterator[Item]:
        if actual == "jsonl":
            return parse_jsonl(file.lines(), name)
        if actual == "json":
            return parse_json(file.text(), name, lambda part: part not in apart)
        if actual == "text":
            return parse_asked(file.lines(), name) if has_questions else parse_text(file.lines(), name)
        assert way is not None
        return parse_delimited(file.lines(), name, way)

    lines = file.lines if actual == "jsonl" else None
    table = Table(
        name, actual, file.encoding, file.digest, file.num_bytes, items, lines=lines, notes=tuple(notes)
    )
    if not apart:
        return table
    notes.append(say("Kept for measuring, going by their names: {names}", names=", ".join(sorted(apart))))
    heldout = replace(table, name=f"{name}: {', '.join(sorted(apart))}", notes=())
    heldout = replace(heldout, items=lambda: parse_json(file.text(), name, lambda part: part in apart))
    return replace(table, notes=tuple(notes), heldout=heldout)


def _on_dialect(way: Dialect, name: str) -> Iterator[Message]:
    if way.title:
        yield _has_title(name, way.title)
    if not way.has_header:
        yield _no_header(name)
    if way.delimiter not in (",", "\t"):
        yield say("The columns of {file} are separated by {sign}.", file=name, sign=repr(way.delimiter))


def _parts_for_measuring(file: TextFile, start: str) -> frozenset[str]:
    """Return names of lists in an object that are kept for measuring, beside others to train: {"train": […],
    "test": […]}.
    """
    if not start.lstrip("\ufeff \t\r\n").startswith("{"):
        return frozenset()
    names = list_names(file.text())
    found = frozenset(filter(is_for_measuring, names))
    return found if len(found) < len(names) else frozenset()


def _sniff(start: str, kind: str) -> str:
    """Return what a file of text holds, by its beginning, where that differs from what its name promises."""
    body = start.lstrip("\ufeff \t\r\n")
    if kind == "jsonl" and _LIST.match(body):
        return "json"
    if kind == "jsonl" and body.splitlines()[:1] == ["{"]:
        return "json"  # an object over several lines
    if kind in ("text", "csv", "tsv") and (body.startswith("{") or _LIST.match(body)):
        return "jsonl" if body.startswith("{") and body.splitlines()[0].rstrip().endswith("}") else "json"
    return kind


def parse_text(lines: Iterable[str], file: str) -> Iterator[Row | BadRow]:
    """Plain text as rows of a few paragraphs each; a paragraph is never torn, unless it is longer than a row
    by itself.
    """
    held: list[str] = []
    size, begins = 0, 1
    for number, line in enumerate(lines, 1):
        line = line[:-2] + "\n" if line.endswith("\r\n") else line
        is_break = not line.strip()
        if (
            held
            and size + len(line) > _TEXT_CHARS
            and (is_break or size > 2 * _TEXT_CHARS or len(line) > _TEXT_CHARS)
        ):
            yield Row({"text": "".join(held).strip()}, file, begins)
            held, size = [], 0
        if not held:
            if is_break:
                continue
            begins = number
        held.append(line)
        size += len(line)
    if "".join(held).strip():
        yield Row({"text": "".join(held).strip()}, file, begins)
