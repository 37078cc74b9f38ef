"""A list of rows in a JSON text, entry by entry. A broken entry costs that entry, and is named with its
line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any

from ...message import Message, say
from .rows import BadRow, Row, kind_of, shown_cell
from .text import ESCAPED

_GAP = re.compile(r"[ \t\n\r,:]*")
_BLANKS = re.compile(r"[ \t]*")
_SIGNS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # whole strings, and what opens and closes
_NEXT = re.compile(r"\}\s*,\s*(?=\{)")
_MAX_TRIES = 20  # places at which a next row is looked for
decode_at = json.JSONDecoder().raw_decode  # (text, place) → (value, where it ends)


def as_row(values: object, file: str, line: int) -> Row | BadRow:
    """Return an object is a row; anything else is named."""
    if isinstance(values, dict):
        return Row(values, file, line)
    problem = say("{kind} where an object was expected", kind=kind_of(values))
    return BadRow(
        file,
        line,
        problem,
        say('Write the row as an object: {"question": "…", "answer": "…"}'),
        value=shown_cell(values),
    )


class _NoTextError(ValueError):
    """Bytes that are no text in the encoding of the file."""


def entries(
    text: str, start: int, file: str, *, is_inner: bool = False, is_whole: bool = True
) -> Generator[Row | BadRow, None, int]:
    """Yield the entries of the list that begins at `start`, each with its line; after a broken one it goes on
    at the next.

    `is_inner`: what comes after the list belongs to the object that holds it; unless `is_whole`, that object
    is broken somewhere. Returns the place up to which all was read.
    """
    line, counted, place = line_at(text, start), start, gap(text, start + 1)
    is_careful = was_broken = False
    known: frozenset[str] = frozenset()  # the keys of a row
    while place < len(text) and text[place] != "]":
        line, counted = line + text.count("\n", counted, place), place
        # an error in a short piece is found and told in short time
        end = _end_of(text, place) if is_careful else None
        try:
            value, after = decode_at(text, place) if end is None else (json.loads(text[place:end]), end)
            check_text(value, text, place, after)
        except (ValueError, RecursionError) as error:
            fix = say("Correct this entry, or delete it.")
            yield BadRow(file, line, json_problem(error), fix, value=shown_cell(text[place : place + 200]))
            place = _after_broken(text, place, known)
            is_careful = was_broken = True
            continue
        was_broken = False
        known = known or (frozenset(value) if isinstance(value, dict) else known)
        yield as_row(value, file, line)
        place = gap(text, after)
    line += text.count("\n", counted, place)
    if place >= len(text) and not was_broken:
        problem = say("the list is not closed: the file seems to be cut off")
        yield BadRow(file, line, problem, say("Copy or download the file again, or close the list with ]."))
    elif (rest := text[place + 1 :].lstrip()) and (not is_inner or (not is_whole and rest[0] not in ",}")):
        yield from _more(text, place + 1, rest.lstrip(" \t\r\n,"), file, known)
        return len(text)
    return place + 1


def _more(text: str, place: int, rest: str, file: str, known: frozenset[str]) -> Iterator[Row | BadRow]:
    """Yield what stands behind a list that is closed: another list, more rows, or nothing that belongs
    there.
    """
    if not rest:
        return
    start = text.index(rest[0], place)
    if rest[0] == "[":
        yield from entries(text, start, file)
        return
    following = start
    if rest[0] != "{":
        problem = say("there is something after the end of the list")
        yield BadRow(
            file,
            line_at(text, start),
            problem,
            say("Delete it, or make it part of the list."),
            value=shown_cell(rest[:200]),
        )
        following = _next_alike(text, start, known)
    if following < len(text):
        yield from entries(text, following - 1, file)


def _end_of(text: str, place: int) -> int | None:
    """Return where the object that begins at `place` is closed, by its brackets; None if it is not, or is no
    object.
    """
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
    """Return where the entry after a broken one begins: where a line begins as its own did, else behind its
    last bracket.

    `known` are the keys of the rows read so far. A quote too many hides brackets, so what looks like another
    row counts more.
    """
    begin = text.rfind("\n", 0, place) + 1
    indent = text[begin:place]
    next_line = -1 if indent.strip() or not begin else text.find(f"\n{indent}{{", place)
    end = _end_of(text, place)
    if end is not None and text[_blanks(text, end) : _blanks(text, end) + 1] not in (",", "]", "\r", "\n"):
        end = None
    if next_line >= 0:
        return gap(text, end) if end is not None and end <= next_line else next_line + 1 + len(indent)
    following = _next_alike(text, place, known) if known or end is None else len(text)
    return following if end is None else min(following, gap(text, end))


def _next_alike(text: str, place: int, known: frozenset[str]) -> int:
    """Return the next object with keys of the rows that were read, where no lines show the way; the end of
    the text if there is none.
    """
    for found in islice(_NEXT.finditer(text, place), _MAX_TRIES):
        try:
            value, _ = decode_at(text, found.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and (known & value.keys() or not known):
            return found.end()
    return len(text)


def _blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def gap(text: str, place: int) -> int:
    """Return where the next key or value begins. Commas too many are overlooked."""
    found = _GAP.match(text, place)
    return found.end() if found else place


def line_at(text: str, place: int) -> int:
    return 1 + text.count("\n", 0, place)


def load_json(text: str) -> Any:
    """Parse JSON. Half a surrogate pair, which JSON can spell and no tokenizer reads, raises `ValueError` as
    bad JSON does.
    """
    values = json.loads(text)
    check_text(values, text, 0, len(text))
    return values


def check_text(values: object, text: str, start: int, end: int) -> None:
    part = text[start:end]
    if "\\ud" in part or "\\uD" in part:
        json.dumps(values, ensure_ascii=False).encode()
    elif not part.isascii() and ESCAPED.search(part):
        raise _NoTextError


_REASONS = {  # what Python's json says, by the beginning of its sentence
    "Expecting value": say("a value is missing"),
    "Expecting ',' delimiter": say("a comma is missing, or there is an extra quote before it"),
    "Expecting ':' delimiter": say("a colon is missing"),
    "Expecting property name": say("a name between double quotes is missing"),
    "Unterminated string": say("a text is not closed with a quote"),
    "Invalid control character": say("there is a line break or tab inside a text; write \\n or \\t"),
    "Invalid \\": say("there is a stray backslash; write two"),
    "Illegal trailing comma": say("there is a comma before the end"),
    "Extra data": say("there is something after the end"),
}


def json_problem(error: Exception) -> Message:
    """Return why it is not JSON."""
    reason: object = getattr(error, "msg", error)
    if isinstance(error, UnicodeEncodeError):
        reason = say("half of a surrogate pair")
    elif isinstance(error, RecursionError):
        reason = say("nested too deeply")
    elif isinstance(error, _NoTextError):
        reason = say("bytes that are not text in the encoding of the file")
    reason = next((said for begin, said in _REASONS.items() if str(reason).startswith(begin)), reason)
    return say("not valid JSON ({reason})", reason=reason)
