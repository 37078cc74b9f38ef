"""Rows in JSON objects: whatever lists they stand in, each row is read, counted, or named as not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nuguna.data.dataset import read_all
from nuguna.data.files.json_rows import parse_json
from nuguna.data.files.rows import BadRow, Row
from nuguna.message import Message
from nuguna.text.language import translator


def pairs(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"question": f"{name}?", "answer": name, **more} for name in names]


def questions(document: Any) -> list[str]:
    items = list(parse_json(json.dumps(document, indent=1), "f.json"))
    return [str(item.values["question"]) if isinstance(item, Row) else type(item).__name__ for item in items]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"easy": pairs("a"), "hard": pairs("b", "c", hint="x")}, ["a?", "b?", "c?"]),
        ({"data": {"one": pairs("a"), "two": pairs("b", "c")}}, ["a?", "b?", "c?"]),
        ({"version": 2, "data": {"rows": pairs("a", "b")}}, ["a?", "b?"]),
        ({"rows": pairs("a", "b"), "licenses": [{"id": 1, "name": "CC0"}]}, ["a?", "b?", "Message"]),
        ({"licenses": [{"id": 1, "name": "CC0"}], "rows": pairs("a", "b")}, ["a?", "b?", "Message"]),
        ({"languages": ["en"], "rows": pairs("a", "b")}, ["a?", "b?"]),
        ({"rows": [], "more": pairs("a")}, ["a?"]),
        ({"easy": pairs("a"), "hard": ["TODO", *pairs("b")]}, ["a?", "BadRow", "b?"]),
        ({"train": [None, *pairs("a")]}, ["BadRow", "a?"]),
        ({"question": "a?", "answer": "b", "tags": ["c", "d"]}, ["a?"]),
        ({"question": "a?", "answer": "b", "sources": [{"url": "c"}]}, ["a?"]),
        ({"columns": ["question", "answer"], "index": [0, 1], "data": [["a?", "b"], ["c?", "d"]]}, ["a?", "c?"]),
    ],
)
def test_every_list_of_rows_in_an_object_is_read(document: Any, expected: list[str]) -> None:
    assert questions(document) == expected


def test_rows_of_inner_lists_know_their_lines() -> None:
    text = '{"data": {\n"one": [\n{"question": "a", "answer": "b"}],\n"two": [{"question": "c", "answer": "d"}]}}'
    assert [(item.line, item.values["question"]) for item in parse_json(text, "f") if isinstance(item, Row)] == [
        (3, "a"),
        (4, "c"),
    ]


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_broken_row_in_one_list_costs_no_row_of_another(place: str) -> None:
    broken = '{"question": "b" "answer": "c"}'
    good = [json.dumps(row) for row in pairs("a", "d", "e")]
    lists = {"first": ([good[0], broken, good[1]], [good[2]]), "second": ([good[2]], [good[0], broken, good[1]])}[place]
    text = '{"one": [\n' + ",\n".join(lists[0]) + '\n],\n"two": [\n' + ",\n".join(lists[1]) + "\n]}"
    items = list(parse_json(text, "f"))
    assert sorted(item.values["question"] for item in items if isinstance(item, Row)) == ["a?", "d?", "e?"]
    (bad,) = (item for item in items if isinstance(item, BadRow))
    assert text.splitlines()[bad.line - 1].startswith(broken)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_part_called_test_is_measured_and_not_trained(wrapped: bool, tmp_path: Path) -> None:
    parts = {"train": pairs("a", "b"), "test": pairs("c"), "train_more": pairs("d")}
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"data": parts} if wrapped else parts))
    found = read_all(str(path))
    assert [c.answer for c in found.train] == ["a", "b", "d"] and [c.answer for c in found.heldout] == ["c"]
    assert found.num_rows == 3 and any("test" in str(note) for note in found.notes)
    path.write_text(json.dumps({"test": pairs("c"), "dev": pairs("d")}))
    assert len(read_all(str(path)).train) == 2  # there is nothing else


@pytest.mark.parametrize(
    "text", ['{"a": 1,}', '{"a" 1}', '{"a": }', "{a: 1}", '{"a": "b', '{"a": "\t"}', '{"a": "\\x"}', '{"a": 1']
)
def test_the_reason_is_given_in_the_readers_language(text: str) -> None:
    (bad,) = parse_json(text, "f")
    assert isinstance(bad, BadRow) and isinstance(bad.problem, Message)
    said = translator("ko")(bad.problem)
    assert not any(word in said for word in ("Expecting", "Unterminated", "Invalid", "delimiter", "valid JSON")), said


@pytest.mark.parametrize(
    ("document", "num_train", "num_heldout"),
    [
        ({"version": "1.0", "train": pairs("a", "b"), "test": pairs("c")}, 2, 1),
        ({"data": pairs("a", "b"), "test": pairs("c")}, 2, 1),
        ({"학습": pairs("a", "b"), "테스트": pairs("c")}, 2, 1),
        ({"test_results": pairs("a"), "symptoms": pairs("b")}, 2, 0),
    ],
)
def test_wherever_a_part_for_measuring_stands_it_is_not_trained(
    document: Any, num_train: int, num_heldout: int, tmp_path: Path
) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    found = read_all(str(path))
    assert (len(found.train), len(found.heldout)) == (num_train, num_heldout)


def test_one_broken_row_does_not_let_the_part_for_measuring_be_trained(tmp_path: Path) -> None:
    rows = [json.dumps(row) for row in pairs(*map(str, range(200)))]
    rows[50] = rows[50].replace('", "answer"', '" "answer"')
    path = tmp_path / "set.json"
    path.write_text('{"train": [\n' + ",\n".join(rows) + '\n], "test": [\n' + json.dumps(pairs("x")[0]) + "\n]}")
    found = read_all(str(path))
    assert (len(found.train), len(found.heldout), found.num_bad, found.bad_rows[0].line) == (199, 1, 1, 52)


def test_objects_over_several_lines_one_after_the_other_are_rows() -> None:
    text = "\n".join(json.dumps(row, indent=2) for row in pairs("a", "b", "c"))
    assert [(item.values["question"], item.line) for item in parse_json(text, "f") if isinstance(item, Row)] == [
        ("a?", 1),
        ("b?", 5),
        ("c?", 9),
    ]
