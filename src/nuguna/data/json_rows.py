"""JSON and JSONL → rows. A broken entry costs that entry, and is named with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ..message import Message, say
from .rows import BadRow, Row, kind_of, shown
from .text import ESCAPED, MOST_LINE_BYTES

_GAP = re.compile(r"[ \t\n\r,:]*")
_BLANKS = re.compile(r"[ \t]*")
_SIGNS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # whole strings, and what opens and closes
_TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog")  # lists that belong to one row
_NEXT = re.compile(r"\}\s*,\s*(?=\{)")
_MOST_TRIES = 20  # places at which a next row is looked for
_LIST_OF_OBJECTS = re.compile(r"\[\s*\{")
_decode = json.JSONDecoder().raw_decode


def parse_jsonl(lines: Iterable[str], file: str) -> Iterator[Row | BadRow]:
    """One JSON object a line. A comma at the end of a line, as in a list, is overlooked."""
    for number, line in enumerate(lines, 1):
        content = line.strip()
        if not content or content in ("[", "]"):  # a list with one object a line
            continue
        yield _row_of(content, line, file, number)


def _row_of(content: str, line: str, file: str, number: int) -> Row | BadRow:
    if len(line) >= MOST_LINE_BYTES:
        problem = say("the line is longer than {most} MB", most=MOST_LINE_BYTES // 2**20)
        return BadRow(file, number, problem, say("Put a line break after each row."), value=shown(content))
    try:
        values = load_json(content)
    except (ValueError, RecursionError) as error:
        if content.endswith(","):
            return _row_of(content.rstrip(","), "", file, number)
        return BadRow(file, number, json_problem(error), say("Each line must be one complete JSON object."), value=shown(content))
    return as_row(values, file, number)


def as_row(values: Any, file: str, line: int) -> Row | BadRow:
    """An object is a row; anything else is named."""
    if isinstance(values, dict):
        return Row(values, file, line)
    problem = say("{kind} where an object was expected", kind=kind_of(values))
    return BadRow(file, line, problem, say('Write the row as an object: {"question": "…", "answer": "…"}'), value=shown(values))


def parse_json(text: str, file: str) -> Iterator[Row | BadRow]:
    """A list of objects, an object that holds one, columns of equal length, or a single row; one such thing or several."""
    start = len(text) - len(text.lstrip("\ufeff \t\r\n"))
    if not text[start:]:
        return
    if text[start] == "[":
        yield from _entries(text, start, file)
        return
    try:
        document, end = _decode(text, start)
        _check(document, text, start, end)
    except (ValueError, RecursionError) as error:
        yield from _rows_of_broken(text, start, file, error)
        return
    if text[end:].strip():
        yield from parse_jsonl(text.split("\n"), file)  # several objects, one a line
    elif not isinstance(document, dict):
        yield as_row(document, file, _line(text, start))
    else:
        yield from _rows_of_object(text, start, document, file)


def _rows_of_broken(text: str, start: int, file: str, error: Exception) -> Iterator[Row | BadRow]:
    """An object that cannot be read as a whole: its list of rows as far as it goes, or a file of one object a line."""
    if text[start:].partition("\n")[0].rstrip().endswith("}"):
        yield from parse_jsonl(text.split("\n"), file)
        return
    found = _LIST_OF_OBJECTS.search(text, start)
    is_table = found and not re.search(rf'"({"|".join(_TURNS)})"\s*:\s*$', text[max(start, found.start() - 200) : found.start()])
    if found and is_table:
        yield from _entries(text, found.start(), file, is_inner=True, is_whole=False)
        return
    fix = say("The file must be one JSON list of objects.")
    yield BadRow(file, getattr(error, "lineno", 1), json_problem(error), fix, value=shown(text[start : start + 200]))


def _rows_of_object(text: str, start: int, document: dict[str, Any], file: str) -> Iterator[Row | BadRow]:
    lists = {name: value for name, value in document.items() if isinstance(value, list) and value}
    line = _line(text, start)
    if lists and not set(lists) & set(_TURNS):
        yield from _rows_of_lists(text, start, lists, file)
    elif columns := _columns(document):
        yield from (Row(row, file, line) for row in columns)
    else:
        inner = list(document.values())
        nested = next((value for value in inner if isinstance(value, dict) and _has_list(value)), None)
        if len(inner) > 1 and all(isinstance(value, dict) for value in inner):  # {"0": {...}, "1": {...}}
            yield from (Row(value, file, line) for value in inner)
        elif nested and not lists:
            yield from (as_row(value, file, line) for value in next(x for x in nested.values() if isinstance(x, list)))
        else:
            yield as_row(document, file, line)


def _has_list(value: Mapping[str, Any]) -> bool:
    return any(isinstance(inner, list) for inner in value.values())


def _columns(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of {"question": {"0": …, "1": …}, "answer": {…}}, as pandas writes tables; none for anything else."""
    inner = list(document.values())
    if not inner or not all(isinstance(value, dict) and value for value in inner):
        return []
    places = list(inner[0])
    if any(list(value) != places for value in inner) or not all(place.isdecimal() for place in places):
        return []
    return [{name: value[place] for name, value in document.items()} for place in places]


def _rows_of_lists(text: str, start: int, lists: Mapping[str, list[Any]], file: str) -> Iterator[Row | BadRow]:
    objects = [name for name, value in lists.items() if isinstance(value[0], dict)]
    if not objects and len(lists) > 1 and len({len(value) for value in lists.values()}) == 1:
        line = _line(text, start)
        yield from (Row(dict(zip(lists, row, strict=True)), file, line) for row in zip(*lists.values(), strict=True))
        return
    first = objects[0] if objects else next(iter(lists))
    same = [name for name in objects if lists[name][0].keys() == lists[first][0].keys()]  # {"train": […], "more": […]}
    for name in same or [first]:
        yield from _entries(text, _place_of(text, start, name), file, is_inner=True)


def _place_of(text: str, start: int, name: str) -> int:
    """Where the list under `name` begins in an object; of two equal names the last counts, as in json.loads."""
    place, found = _gap(text, start + 1), start
    while place < len(text) and text[place] != "}":
        key, place = _decode(text, place)
        place = _gap(text, place)
        if key == name and text[place] == "[":
            found = place
        place = _gap(text, _decode(text, place)[1])
    return found


def _entries(text: str, start: int, file: str, *, is_inner: bool = False, is_whole: bool = True) -> Iterator[Row | BadRow]:
    """The entries of the list that begins at `start`, each with its line; after a broken one it goes on at the next.

    `is_inner`: what comes after the list belongs to the object that holds it; unless `is_whole`, that object is broken somewhere.
    """
    line, counted, place = _line(text, start), start, _gap(text, start + 1)
    is_careful = was_broken = False
    known: frozenset[str] = frozenset()  # the keys of a row
    while place < len(text) and text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        end = _end_of(text, place) if is_careful else None  # an error in a short piece is found and told in short time
        try:
            value, after = _decode(text, place) if end is None else (json.loads(text[place:end]), end)
            _check(value, text, place, after)
        except (ValueError, RecursionError) as error:
            fix = say("Correct this entry, or delete it.")
            yield BadRow(file, line, json_problem(error), fix, value=shown(text[place : place + 200]))
            place = _after_broken(text, place, known)
            is_careful = was_broken = True
            continue
        was_broken = False
        known = known or (frozenset(value) if isinstance(value, dict) else known)
        yield as_row(value, file, line)
        place = _gap(text, after)
    line += text.count("\n", counted, place)
    if place >= len(text) and not was_broken:
        problem = say("the list is not closed: the file seems to be cut off")
        yield BadRow(file, line, problem, say("Copy or download the file again, or close the list with ]."))
    elif (rest := text[place + 1 :].lstrip()) and (not is_inner or (not is_whole and rest[0] not in ",}")):
        yield from _more(text, place + 1, rest.lstrip(" \t\r\n,"), file, known)


def _more(text: str, place: int, rest: str, file: str, known: frozenset[str]) -> Iterator[Row | BadRow]:
    """What stands behind a list that is closed: another list, more rows, or nothing that belongs there."""
    if not rest:
        return
    start = text.index(rest[0], place)
    if rest[0] == "[":
        yield from _entries(text, start, file)
        return
    following = start
    if rest[0] != "{":
        problem = say("something stands behind the end of the list")
        yield BadRow(file, _line(text, start), problem, say("Delete it, or make it part of the list."), value=shown(rest[:200]))
        following = _next_alike(text, start, known)
    if following < len(text):
        yield from _entries(text, following - 1, file)


def _end_of(text: str, place: int) -> int | None:
    """Where the object that begins at `place` is closed, by its brackets; None if it is not, or is no object."""
    if text[place] != "{":
        return None
    opened: list[str] = []
    for sign in _SIGNS.finditer(text, place):
        if sign[0] in "{[":
            opened.append(sign[0])
        elif sign[0] in "}]" and (not opened or opened.pop() + sign[0] not in ("{}", "[]")):
            return None
        if not opened:
            return sign.end()
    return None


def _after_broken(text: str, place: int, known: frozenset[str]) -> int:
    """Where the entry after a broken one begins: where a line begins as its own did, else behind its last bracket.

    `known` are the keys of the rows read so far. A quote too many hides brackets, so what looks like another row counts more.
    """
    begin = text.rfind("\n", 0, place) + 1
    indent = text[begin:place]
    next_line = -1 if indent.strip() or not begin else text.find(f"\n{indent}{{", place)
    end = _end_of(text, place)
    if end is not None and text[_blanks(text, end) : _blanks(text, end) + 1] not in (",", "]", "\r", "\n"):
        end = None
    if next_line >= 0:
        return _gap(text, end) if end is not None and end <= next_line else next_line + 1 + len(indent)
    following = _next_alike(text, place, known) if known or end is None else len(text)
    return following if end is None else min(following, _gap(text, end))


def _next_alike(text: str, place: int, known: frozenset[str]) -> int:
    """The next object with keys of the rows that were read, where no lines show the way; the end of the text if there is none."""
    for found in islice(_NEXT.finditer(text, place), _MOST_TRIES):
        try:
            value, _ = _decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and (known & value.keys() or not known):
            return found.end()
    return len(text)


def _blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def _gap(text: str, place: int) -> int:
    """Where the next key or value begins. Commas too many are overlooked."""
    found = _GAP.match(text, place)
    return found.end() if found else place


def _line(text: str, place: int) -> int:
    return 1 + text.count("\n", 0, place)


def load_json(text: str) -> Any:
    """Parse JSON. Half a surrogate pair, which JSON can spell and no tokenizer reads, raises `ValueError` as bad JSON does."""
    values = json.loads(text)
    _check(values, text, 0, len(text))
    return values


def _check(values: Any, text: str, start: int, end: int) -> None:
    part = text[start:end]
    if "\\ud" in part or "\\uD" in part:
        json.dumps(values, ensure_ascii=False).encode()
    elif not part.isascii() and ESCAPED.search(part):
        raise ValueError("bytes that are not text in the encoding of the file")


def json_problem(error: Exception) -> Message:
    """Why it is not JSON."""
    if isinstance(error, UnicodeEncodeError):
        return say("not valid JSON ({reason})", reason="half of a surrogate pair")
    reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", error)
    return say("not valid JSON ({reason})", reason=reason)
