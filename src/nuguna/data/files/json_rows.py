"""JSON and JSONL → rows: one object a line, a list of objects, or an object that holds such lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...message import say
from .columns import ANSWERS, QUESTIONS, TURNS, plain
from .json_list import as_row, check_text, decode_at, entries, gap, json_problem, line_at, load_json
from .rows import BadRow, Item, Row, shown_cell
from .text import MAX_LINE_BYTES

_LIST_OF_OBJECTS = re.compile(r"\[\s*\{")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*$')  # of what follows
Wanted = Callable[[str], bool]  # whether the list of this name is to be read


def parse_jsonl(lines: Iterable[str], file: str, first_line: int = 1) -> Iterator[Row | BadRow]:
    """Yield one JSON object a line. A comma at the end of a line, as in a list, is overlooked."""
    for number, line in enumerate(lines, first_line):
        content = line.strip()
        if not content or content in ("[", "]"):  # a list with one object a line
            continue
        yield _row_of(content, line, file, number)


def _row_of(content: str, line: str, file: str, number: int) -> Row | BadRow:
    if len(line) >= MAX_LINE_BYTES:
        problem = say("the line is longer than {most} MB", most=MAX_LINE_BYTES // 2**20)
        return BadRow(
            file, number, problem, say("Put a line break after each row."), value=shown_cell(content)
        )
    try:
        values = load_json(content)
    except (ValueError, RecursionError) as error:
        if content.endswith(","):
            return _row_of(content.rstrip(","), "", file, number)
        return BadRow(
            file,
            number,
            json_problem(error),
            say("Each line must be one complete JSON object."),
            value=shown_cell(content),
        )
    return as_row(values, file, number)


def parse_json(text: str, file: str, wanted: Wanted = lambda name: True) -> Iterator[Item]:
    """Yield a list of objects, an object that holds some, columns of equal length, or a single row; one such
    thing or several.

    Of several lists in an object only those are read whose names are `wanted`.
    """
    start = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    if not text[start:]:
        return
    if text[start] == "[":
        yield from entries(text, start, file)
        return
    try:
        document, end = decode_at(text, start)
        check_text(document, text, start, end)
    except (ValueError, RecursionError) as error:
        yield from _rows_of_broken(text, start, file, error, wanted)
        return
    if text[end:].strip():
        yield from _several(text, start, file)
    elif not isinstance(document, dict):
        yield as_row(document, file, line_at(text, start))
    else:
        yield from _rows_of_object(text, start, document, file, wanted)


def _several(text: str, start: int, file: str) -> Iterator[Row | BadRow]:
    """Objects one after the other: one a line, or each over several lines."""
    if text[start:].partition("\n")[0].rstrip().endswith("}"):
        yield from parse_jsonl(text.split("\n"), file)
        return
    line, counted, place = line_at(text, start), start, start
    while place < len(text):
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, after = decode_at(text, place)
            check_text(value, text, place, after)
        except (ValueError, RecursionError) as error:
            fix = say("Correct this entry, or delete it.")
            yield BadRow(file, line, json_problem(error), fix, value=shown_cell(text[place : place + 200]))
            place = text.find("\n{", place) + 1 or len(text)
        else:
            yield as_row(value, file, line)
            place = gap(text, after)


def list_names(text: str) -> tuple[str, ...]:
    """Return the names of the lists in which the rows of an object stand; () if there are none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        start = len(text) - len(text.lstrip("\ufeff \t\r\n"))
        return tuple(name for name, rows in _lists_of_broken(text, start, "") if sum(1 for _ in rows))
    while isinstance(document, dict):
        if lists := _lists(document):
            return tuple(lists)
        document = document.get(_holder(document))
    return ()


def _rows_of_broken(
    text: str, start: int, file: str, error: Exception, wanted: Wanted
) -> Iterator[Row | BadRow]:
    """Yield an object that cannot be read as a whole: its lists of rows as far as they go, or a file of one
    object a line.
    """
    if text[start:].partition("\n")[0].rstrip().endswith("}"):
        yield from parse_jsonl(text.split("\n"), file)
        return
    has_rows = False
    for name, rows in _lists_of_broken(text, start, file):
        has_rows = True
        yield from (row for row in rows if wanted(name))
    if not has_rows:
        fix = say("The file must be one JSON list of objects.")
        yield BadRow(
            file,
            getattr(error, "lineno", 1),
            json_problem(error),
            fix,
            value=shown_cell(text[start : start + 200]),
        )


def _lists_of_broken(text: str, start: int, file: str) -> Iterator[tuple[str, Iterator[Row | BadRow]]]:
    """Yield (name, entries) of each list of objects; the entries must be read before the next list is asked
    for.
    """
    place = start

    def read(begin: int) -> Iterator[Row | BadRow]:
        nonlocal place
        place = yield from entries(text, begin, file, is_inner=True, is_whole=False)

    while found := _LIST_OF_OBJECTS.search(text, place):
        named = _NAME.search(text[max(start, found.start() - 200) : found.start()])
        name = named[1] if named else ""
        if name in TURNS:
            return
        place = found.end()
        yield name, read(found.start())


def _rows_of_object(
    text: str, start: int, document: dict[str, Any], file: str, wanted: Wanted
) -> Iterator[Item]:
    line, objects = line_at(text, start), [value for value in document.values() if isinstance(value, dict)]
    if lists := _lists(document):
        yield from _rows_of_lists(text, start, lists, file, wanted)
    elif columns := _columns(document):
        yield from (Row(row, file, line) for row in columns)
    elif 1 < len(objects) == len(document):  # {"0": {...}, "1": {...}}
        yield from (Row(value, file, line) for value in objects)
    elif name := _holder(document):
        yield from _rows_of_object(text, _places(text, start)[name], document[name], file, wanted)
    else:
        yield as_row(document, file, line)


def _lists(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the lists that may hold rows; none if the object is itself a row."""
    found = {name: value for name, value in document.items() if isinstance(value, list) and value}
    words = {plain(name) for name, value in document.items() if isinstance(value, str)}
    is_row = found.keys() & set(TURNS) or (words & set(QUESTIONS) and words & set(ANSWERS))
    return {} if is_row else found


def _holder(document: Mapping[str, Any]) -> str:
    """Return the name of an inner object with lists, "" if there is none."""
    if any(isinstance(value, list) and value for value in document.values()):
        return ""
    inner = {name: value for name, value in document.items() if isinstance(value, dict)}
    return next(
        (name for name, value in inner.items() if any(isinstance(part, list) for part in value.values())), ""
    )


def _columns(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows of {"question": {"0": …, "1": …}, "answer": {…}}, as pandas writes tables; none for
    anything else.
    """
    inner = list(document.values())
    if not inner or not all(isinstance(value, dict) and value for value in inner):
        return []
    places = list(inner[0])
    if any(list(value) != places for value in inner) or not all(place.isdecimal() for place in places):
        return []
    return [{name: value[place] for name, value in document.items()} for place in places]


def _rows_of_lists(
    text: str, start: int, lists: Mapping[str, list[Any]], file: str, wanted: Wanted
) -> Iterator[Item]:
    firsts = {
        name: next((entry for entry in value if isinstance(entry, dict)), None)
        for name, value in lists.items()
    }
    objects = {name: first for name, first in firsts.items() if first is not None}
    if table := _split_table(lists):
        yield from (Row(row, file, line_at(text, start)) for row in table)
        return
    if not objects and len(lists) > 1 and len({len(value) for value in lists.values()}) == 1:
        line = line_at(text, start)
        yield from (
            Row(dict(zip(lists, row, strict=True)), file, line) for row in zip(*lists.values(), strict=True)
        )
        return
    known = objects[max(objects, key=lambda name: len(lists[name]))].keys() if objects else ()
    # {"easy": […], "hard": […]}, where hard ones may have a column more; a list with other columns is no data
    read = [name for name, value in objects.items() if 2 * len(known & value.keys()) >= len(known)] or list(
        lists
    )
    places = _places(text, start)
    for name in filter(wanted, read):
        yield from entries(text, places[name], file, is_inner=True)
    if others := [name for name in filter(wanted, objects) if name not in read]:
        yield say(
            "In {file} the lists with other columns are not read: {names}", file=file, names=", ".join(others)
        )


def _split_table(lists: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return rows of {"columns": ["question", "answer"], "data": [[…], […]]}, another way of pandas; none for
    anything else.
    """
    names, rows = lists.get("columns", []), lists.get("data", [])
    if not names or not all(isinstance(name, str) for name in names):
        return []
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return []
    return [dict(zip(names, row, strict=True)) for row in rows]


def _places(text: str, start: int) -> dict[str, int]:
    """Return where the value of each name of an object begins; of two equal names the last counts, as in
    json.loads.
    """
    place, found = gap(text, start + 1), {}
    while place < len(text) and text[place] != "}":
        name, place = decode_at(text, place)
        place = gap(text, place)
        found[name] = place
        place = gap(text, decode_at(text, place)[1])
    return found
