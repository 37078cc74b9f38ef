"""Files and rows damaged by chance, thousands of them: no traceback, and no row that is lost without being
counted.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import gzip
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nuguna.data.conversations.conversation import Conversation
from nuguna.data.conversations.shape import find_shape
from nuguna.data.conversations.turns import to_conversation
from nuguna.data.dataset import Dataset, read_all
from nuguna.data.files.rows import BadRow, Row, Table
from nuguna.errors import UserError
from tests.data.corpus.all_cases import all_cases
from tests.data.corpus.shaped import all_shapes
from tests.data.test_corpus import check_conversation

MAX_SEED_BYTES = 6_000  # small files fail for the same reasons, and sooner
MAX_SECONDS = 5
TEXTS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md")
BINARIES = (".xlsx", ".parquet", ".gz", ".zst")


def seeds(suffixes: Sequence[str]) -> dict[str, bytes]:
    """Return the small files of the corpus whose names end so."""
    return {name: content for name, content in _FILES.items() if name.endswith(tuple(suffixes))}


_FILES = {
    case.path: case.content for case in all_cases() if isinstance(case.content, bytes) and len(case.content) <= MAX_SEED_BYTES
}
_SEEDS = seeds((*TEXTS, *BINARIES))
_TEXT_SEED, _BINARY_SEED = (st.sampled_from(sorted(seeds(suffixes))) for suffixes in (TEXTS, BINARIES))
_SIGNS = [*"\"'{}[],;\t|:\\\n\r\0\ufeff\u2028\ud7ff", '""', "\r\n"]
_WORDS = ["null", "NaN", "-1e999", '"\\ud83d"', "[[[[", "{}", "[]", '""', "\n\n\n", "</s>", "[INST]", "<think>", "약", "💊"]
_BYTES = [b"\xff", b"\xfe\xff", b"\x80\x80", b"\x00\x00\x00", b"\xed\xa0\x80", b"\xb0\xa1", b"\x1f\x8b", b"PAR1", b"PK\x03\x04"]
_PIECES = [*(text.encode() for text in (*_SIGNS, *_WORDS)), *_BYTES]

Mutation = Callable[[bytes, int, int, bytes, bytes], bytes]  # content, place, length, piece, another file


def _flip(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + bytes(byte ^ piece[0] | 1 for byte in content[place : place + length]) + content[place + length :]


def _insert(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + piece + content[place:]


def _delete(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + content[place + length :]


def _overwrite(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + piece * min(length, 4) + content[place + length :]


def _cut(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place]


def _behead(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[place:]


def _repeat(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + content[place : place + 8 * length] * 3 + content[place:]


def _splice(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + other[len(other) * length // 64 :]


def _append(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content + other


def _replace_all(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content.replace(content[place : place + 1], piece)


def _newlines(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"", b"\n\r")[length % 5])


def _encoding(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    text = content.decode("utf-8", "replace")
    names = ("utf-16", "utf-16-le", "utf-16-be", "cp949", "utf-8-sig", "utf-32", "cp1252")
    return text.encode(names[length % len(names)], "replace")


def _half_encoding(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    return content[:place] + _encoding(content[place:], place, length, piece, other)


def _swap_lines(content: bytes, place: int, length: int, piece: bytes, other: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    at = place % len(lines)
    return b"".join([*lines[at:], *lines[:at]])


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _insert, _insert, _delete, _overwrite, _overwrite, _cut, _behead, _repeat, _splice, _append),
    *(_replace_all, _newlines, _encoding, _half_encoding, _swap_lines),
)
# a few numbers that are quick to draw: what is done, where (of 4096 parts), how long, with which piece
_STEP = st.tuples(st.sampled_from(_MUTATIONS), st.integers(0, 4096), st.integers(1, 63), st.sampled_from(_PIECES))
_STEPS = st.lists(_STEP, min_size=1, max_size=3)


def damaged(content: bytes, steps: Sequence[tuple[Mutation, int, int, bytes]], other: bytes) -> bytes:
    for mutate, part, length, piece in steps:
        content = mutate(content, len(content) * part // 4096, length, piece, other)[: 8 * MAX_SEED_BYTES]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where all examples are written, one over the other."""
    return tmp_path_factory.mktemp("mutations")


def check(folder: Path, content: bytes, suffix: str) -> None:
    """What must hold of every file in the world."""
    path = folder / f"rows{suffix}"
    path.write_bytes(content)
    began = time.perf_counter()
    try:
        dataset = read_all(str(path))
    except UserError as refusal:
        assert str(refusal.what) and str(refusal.fix)
        str(refusal).encode()
    else:
        check_dataset(dataset)
    assert time.perf_counter() - began < MAX_SECONDS


def check_dataset(dataset: Dataset) -> None:
    assert dataset.num_rows == len(dataset.train) + dataset.num_bad + dataset.num_unwanted
    assert len(dataset.bad_rows) == dataset.num_bad
    for row in dataset.bad_rows:
        check_bad_row(row)
    for conversation in dataset.train:
        check_conversation(conversation)


def check_bad_row(row: BadRow) -> None:
    assert row.file and row.line >= 1 and str(row.problem) and str(row.fix)
    assert len(str(row.problem)) < 1_000 and len(row.value) < 100
    json.dumps(row.to_json(), ensure_ascii=False).encode()


# With NUGUNA_TEST_ALL=1 two and a half times as many.
NUM_EXAMPLES = {"texts": 2_000, "binary": 600, "names": 400, "packed": 400, "sheets": 200, "rows": 1_000, "alone": 500}
TIMES = 2.5 if os.environ.get("NUGUNA_TEST_ALL") else 1


def many(kind: str) -> Callable[[Any], Any]:
    """So many examples, the same each time."""
    slow = [HealthCheck.too_slow]
    return settings(
        max_examples=round(TIMES * NUM_EXAMPLES[kind]), derandomize=True, deadline=None, database=None, suppress_health_check=slow
    )


def test_the_cases_are_as_many_as_was_promised() -> None:
    assert sum(NUM_EXAMPLES.values()) >= 5_000


def ending(name: str) -> str:
    return "".join(Path(name).suffixes[-2:])


@many("texts")
@given(name=_TEXT_SEED, steps=_STEPS, other=_TEXT_SEED)
def test_damaged_texts(folder: Path, name: str, steps: list[Any], other: str) -> None:
    check(folder, damaged(_SEEDS[name], steps, _SEEDS[other]), ending(name))


@many("binary")
@given(name=_BINARY_SEED, steps=_STEPS, other=_BINARY_SEED)
def test_damaged_binary_files(folder: Path, name: str, steps: list[Any], other: str) -> None:
    check(folder, damaged(_SEEDS[name], steps, _SEEDS[other]), ending(name))


@many("names")
@given(name=st.sampled_from(sorted(_SEEDS)), steps=_STEPS, suffix=st.sampled_from([*TEXTS, *BINARIES, ".docx"]))
def test_damaged_files_under_a_wrong_name(folder: Path, name: str, steps: list[Any], suffix: str) -> None:
    check(folder, damaged(_SEEDS[name], steps, _SEEDS[name]), suffix)


@many("packed")
@given(name=_TEXT_SEED, inner=_STEPS, outer=st.lists(_STEP, max_size=1), kind=st.sampled_from([".gz", ".zst"]))
def test_damaged_packed_files(folder: Path, name: str, inner: list[Any], outer: list[Any], kind: str) -> None:
    content = damaged(_SEEDS[name], inner, _SEEDS[name])
    packed = gzip.compress(content, mtime=0) if kind == ".gz" else pyarrow.compress(content, "zstd", asbytes=True)
    check(folder, damaged(packed, outer, content), ending(name) + kind)


_SHEET_SEED = st.sampled_from(sorted(name for name in _SEEDS if name.startswith(("xlsx/", "shapes/")) and name.endswith(".xlsx")))


@many("sheets")
@given(name=_SHEET_SEED, steps=_STEPS, part=st.integers(0, 6))
def test_damaged_parts_of_spreadsheets(folder: Path, name: str, steps: list[Any], part: int) -> None:
    """The zip is sound, what stands in it is not."""
    with zipfile.ZipFile(io.BytesIO(_SEEDS[name])) as archive:
        files = {inner: archive.read(inner) for inner in archive.namelist()}
    chosen = sorted(files)[part % len(files)]
    files[chosen] = damaged(files[chosen], steps, _SEEDS[name])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for inner, content in files.items():
            archive.writestr(inner, content)
    check(folder, made.getvalue(), ".xlsx")


_OTHER_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 3.5, float("nan"), float("inf"), 10**30, 2**53 + 1),
    *("", " \n", "\u3000", "null", "[", "[]", "[{}]", '[{"role": "user"}]', '[{"role": "assistant", "content": "a"}]', "{" * 50),
    *("<think>", "<think></think>", "<think>a</think>", "x" * 100_000, "<s>" * 2_000, "[INST]" * 500, "{braces} {0} %s"),
    *([], {}, [None], [[]], [{}], [[None, None]], ["a", "b"], [["a", "b"]], {"a": None}, {"role": "user"}, {"text": "a"}),
    *([{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}], [{"role": "tool", "content": "c"}]),
    *([{"type": "text", "text": "a"}], [{"type": "image"}], [{"from": "function_call", "value": "{}"}], [{"from": ["gpt"]}]),
    # what Parquet and spreadsheets hold
    *(b"\xff\x00", datetime.date(2024, 1, 2), datetime.timedelta(1), decimal.Decimal("1.50"), ("a", "b"), {"bytes": b"\x89PNG"}),
]
_AWAY = object()
_VALUES = {repr(value)[:40]: value for value in _OTHER_VALUES} | {"taken away": _AWAY}
_SHAPES = {shape.name: shape for shape in all_shapes()}


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value within a row."""
    if at:
        yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*at, key))


def changed(row: dict[str, Any], number: int, value: Any) -> dict[str, Any]:
    """Return a row with one of its values replaced, or taken away."""
    made = copy.deepcopy(row)
    places = list(_places(made))
    *way, last = places[number % len(places)]
    holder: Any = made
    for key in way:
        holder = holder[key]
    if value is _AWAY:
        del holder[last]
    else:
        holder[last] = value
    return made


@many("rows")
@given(
    shape=st.sampled_from(sorted(_SHAPES)),
    row=st.integers(0, 5),
    number=st.integers(0, 200),
    value=st.sampled_from(sorted(_VALUES)),
    is_seen=st.booleans(),
)
def test_rows_with_a_value_of_another_kind(shape: str, row: int, number: int, value: str, is_seen: bool) -> None:
    """The shape is found from the rows as they are, or from the sound ones; every row becomes a conversation
    or is named.
    """
    sound = _SHAPES[shape].rows
    rows = [dict(values) for values in sound]
    rows[row % len(rows)] = changed(rows[row % len(rows)], number, _VALUES[value])
    looked_at = [Row(values, "f.jsonl", line) for line, values in enumerate(rows if is_seen else sound, 1)]
    table = Table("f.jsonl", "jsonl", "utf-8", "", 0, lambda: iter(looked_at))
    try:
        found = find_shape(table)
    except UserError as refusal:
        str(refusal).encode()
        return
    for line, values in enumerate(rows, 1):
        made = to_conversation(Row(values, "f.jsonl", line), found)
        if isinstance(made, Conversation):
            check_conversation(made)
        else:
            check_bad_row(made)


# layout of a file → its row as text, what stands before and after all rows, and between them
_LAYOUTS = {
    "jsonl": ('{{"question": "{}", "answer": "{}"}}', "", "\n", "\n"),
    "json": ('{{"question": "{}", "answer": "{}"}}', "[\n", ",\n", "\n]\n"),
    "compact.json": ('{{"question": "{}", "answer": "{}"}}', "[", ", ", "]"),
    "object.json": ('{{"question": "{}", "answer": "{}"}}', '{{"data": [', ",\n  ", "]}}"),
    "csv": ("{},{}", "question,answer\n", "\n", "\n"),
    "quoted.csv": ('"{}","{}"', "question,answer\r\n", "\r\n", "\r\n"),
    "tsv": ("{}\t{}", "question\tanswer\n", "\n", "\n"),
}


@many("alone")
@given(
    layout=st.sampled_from(sorted(_LAYOUTS)),
    place=st.integers(1, 11),
    at=st.integers(0, 40),
    length=st.integers(0, 3),
    sign=st.sampled_from(["", *'"{}],:;\\x', '"}', '"]', "\t", "\0"]),  # [ would make one entry of all that follow
)
def test_a_damaged_row_costs_that_row_alone(folder: Path, layout: str, place: int, at: int, length: int, sign: str) -> None:
    """All the other rows are used, wherever the damage is and however the file is laid out."""
    row, before, between, after = _LAYOUTS[layout]
    rows = [row.format(f"How about drug {n}?", f"Take {n} of it.") for n in range(12)]
    at %= len(rows[place])
    rows[place] = rows[place][:at] + sign + rows[place][at + length :]
    path = folder / f"rows.{layout}"
    path.write_bytes((before.replace("{{", "{") + between.join(rows) + after.replace("}}", "}")).encode())
    dataset = read_all(str(path))
    check_dataset(dataset)
    used = {conversation.answer for conversation in dataset.train}
    assert used >= {f"Take {n} of it." for n in range(12) if n != place}
    assert dataset.num_rows >= 12


@pytest.mark.parametrize("before", ['{"question": "a", "answer": ', '{"messages": [', '{"q": "a", "a": "b", "tools": ['])
def test_no_depth_is_too_deep(folder: Path, before: str) -> None:
    """From what any reader takes to what none does: where one gives up, the next must not have begun."""
    for depth in (*range(850, 1000, 5), 3_000, 50_000):
        lists = before + "[" * depth + "]" * depth
        objects = before + '{"a": ' * depth + "1" + "}" * depth
        check(folder, f"{lists}\n{objects}\n{lists}]}}\n{objects}]}}\n{lists}}}\n{objects}}}\n".encode(), ".jsonl")
