"""A JSON file that somebody else wrote, read as data: neither its size nor its depth is taken on trust."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..message import say

MAX_BYTES = 64 * 2**20  # the list of weight files of a very large model has a few
MAX_DEPTH = 64  # the deepest configuration of transformers' own models has 6
_MAY_BE_INFINITE = "time_step_limit"  # Mamba's, as its makers write it


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises `ModelError` for anything else, and for numbers that JSON does
    not know.
    """
    try:
        return parse_object(_content(path))
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # unreadable, not text or not JSON, nested without end
        raise ModelError(
            say("A file of this model is not readable JSON: {name}", name=path.name),
            seen=say("{file}: {detail}", file=str(path), detail=str(error)),
            fix=say("Choose another model, for example MODEL=demo"),
        ) from error


def parse_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object that a text holds. Raises `ValueError` and `RecursionError`."""
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError(f"not a JSON object: {shown(document)}")
    for depth, key, value in all_pairs(document):
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        numbers = value if isinstance(value, list) else [value]
        if key != _MAY_BE_INFINITE and any(
            isinstance(one, float) and not math.isfinite(one) for one in numbers
        ):
            raise ValueError(f"{shown(key)} is no number: {shown(value)}")
    return document


def all_pairs(document: object) -> Iterator[tuple[int, str, object]]:
    """Depth, key and value of everything at every depth; without recursion, as the depth is the file's
    choice.

    The items of a list have the key of the list.
    """
    waiting: list[tuple[int, str, object]] = [(0, "", document)]
    while waiting:
        depth, key, item = waiting.pop()
        if depth:
            yield depth, key, item
        if isinstance(item, dict):
            waiting.extend((depth + 1, name, value) for name, value in item.items())
        elif isinstance(item, list):
            waiting.extend((depth + 1, key, value) for value in item if isinstance(value, dict | list))


def shown(value: object) -> str:
    """Return a value for a message: one line, not long, without characters that change a terminal."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return "…"
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 60 else text[:59] + "…"


def _content(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # reading from a pipe would wait for ever
        raise ValueError("not an ordinary file")
    if found.st_size > MAX_BYTES:
        raise ValueError(f"{found.st_size} bytes")
    return path.read_bytes()
