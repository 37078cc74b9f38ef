"""Large tables are remembered by their content, so that a second start need not read them; damage costs time
and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nuguna.data import reading
from nuguna.data.dataset import Dataset, load_dataset, read_all


@pytest.fixture(autouse=True)
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return every table counts as large; the folder where they are remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "MIN_REMEMBERED", 0)
    return tmp_path / "cache" / "nuguna" / "rows"


def written(folder: Path, *more: str) -> str:
    rows = [{"instruction": f"{i}번 약의 색은?", "context": "색 표", "response": "빨강" * (i % 3 + 1)} for i in range(200)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join([*(json.dumps(row, ensure_ascii=False) for row in rows), *more]) + "\n", encoding="utf-8")
    return str(path)


def facts(dataset: Dataset) -> list[object]:
    rest = [dataset.shape, dataset.num_rows, dataset.num_bad, dataset.num_unwanted, dataset.num_chars, dataset.max_chars]
    keys = [list(dataset.question_keys), list(dataset.content_keys), dataset.quantile_chars]
    words = ([str(note) for note in dataset.notes], [(row.line, str(row.problem), str(row.fix)) for row in dataset.bad_rows])
    return [
        list(dataset.train),
        *rest,
        dataset.quantile_chars,
        *keys,
        *words,
        dataset.has_korean,
        dataset.has_reasoning,
        dataset.num_changed,
        dataset.system,
    ]


def test_the_second_time_nothing_is_read_and_all_is_equal(
    tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path, '{"instruction": "x", "response": null}')
    first = load_dataset(source)
    assert {path.suffix for path in remembered.iterdir()} == {".rows", ".index"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in remembered.iterdir())
    monkeypatch.setattr(reading.Reading, "read", lambda *args: pytest.fail("read again"))
    again = load_dataset(source)
    assert facts(again) == facts(first)
    assert first.num_bad == 1 and first.notes and again.train[199].turns == first.train[199].turns


def test_other_content_or_columns_are_read(tmp_path: Path, remembered: Path) -> None:
    assert len(load_dataset(written(tmp_path)).train) == 200
    assert len(load_dataset(written(tmp_path, '{"instruction": "a", "response": "b"}')).train) == 201
    assert read_all(written(tmp_path), ["instruction", "context"]).train[0].answer == "색 표"
    assert len(list(remembered.glob("*.rows"))) == 3


@pytest.mark.parametrize("suffix", [".rows", ".index"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_damage_costs_time_and_nothing_else(suffix: str, damage: str, tmp_path: Path, remembered: Path) -> None:
    source = written(tmp_path)
    first = facts(load_dataset(source))
    (path,) = remembered.glob(f"*{suffix}")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] if damage == "cut" else b"")
    assert facts(load_dataset(source)) == first
    assert facts(load_dataset(source)) == first


def test_without_room_or_right_to_write_it_is_read_each_time(
    tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path)
    monkeypatch.setattr(reading, "SPARE", 1e12)
    assert len(load_dataset(source).train) == 200 and not list(remembered.iterdir())
    monkeypatch.setattr(reading, "SPARE", 0)
    remembered.rmdir()
    remembered.write_text("a file where a folder should be")
    assert len(load_dataset(source).train) == 200


def test_what_was_used_longest_ago_makes_room(tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_dataset(written(tmp_path))
    (old,) = remembered.glob("*.rows")
    import os

    os.utime(old, (1, 1))
    monkeypatch.setattr(reading, "MAX_BYTES", old.stat().st_size + 100)
    load_dataset(written(tmp_path, '{"instruction": "a", "response": "b"}'))
    assert not old.exists() and len(list(remembered.iterdir())) == 2


def test_somebody_is_told_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "EVERY_SECONDS", 0.0)
    path = tmp_path / "many.tsv"
    path.write_text("question\tanswer\n" + "".join(f"{i}?\t{i}\n" for i in range(3500)))
    told: list[int] = []
    load_dataset(str(path), on_rows=told.append)
    assert told == [1000, 2000, 3000]


def test_lengths_are_known_within_a_twentieth_without_keeping_them(tmp_path: Path) -> None:
    lengths = [round(20 * 1.02**i) for i in range(300)]
    rows = [{"question": "q" * 10, "answer": "a" * (length - 10)} for length in lengths]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    found = load_dataset(str(path)).quantile_chars
    exact = [lengths[int(300 * (number + 0.5) / 20)] for number in range(20)]
    assert found == pytest.approx(exact, rel=0.08) and list(found) == sorted(found)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, remembered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path)
    read = reading.Reading.read

    def changing(*args: Any, **more: Any) -> None:
        written(tmp_path, '{"instruction": "a", "response": "b"}')
        read(*args, **more)

    monkeypatch.setattr(reading.Reading, "read", changing)
    load_dataset(source)
    assert not list(remembered.iterdir())


def test_columns_that_begin_late_are_used_where_they_belong_to_an_example(tmp_path: Path) -> None:
    rows = [{"instruction": f"{i}?", "response": "b"} for i in range(150)]
    rows.append({"instruction": "x", "response": "y", "system": "Short.", "context": "z", "colour": "red"})
    path = tmp_path / "late.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = load_dataset(str(path))
    assert [turn.content for turn in found.train[-1].turns] == ["Short.", "x\n\nz", "y"]
    assert any("line 151" in str(note) and "colour" in str(note) and "system" not in str(note) for note in found.notes)


@pytest.mark.parametrize(("num_korean", "has_korean"), [(1, False), (100, True)])
def test_a_set_is_korean_by_its_whole_content(num_korean: int, has_korean: bool, tmp_path: Path) -> None:
    path = tmp_path / "mixed.tsv"
    lines = [f"{i}?\tyes" for i in range(900)] + [f"{i}번?\t네" for i in range(num_korean)]
    path.write_text("question\tanswer\n" + "\n".join(lines), encoding="utf-8")
    assert load_dataset(str(path)).has_korean == has_korean


def test_what_the_system_always_says_is_known_and_thoughts_in_some_rows_are_said(tmp_path: Path) -> None:
    rows = [{"instruction": f"{i}?", "output": "<think>hm</think>b" if i < 2 else "b", "system": "Short."} for i in range(9)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = load_dataset(str(path))
    assert found.system == "Short." and any("2 of 9 conversations contain thoughts" in str(note) for note in found.notes)
    path.write_text("\n".join(map(json.dumps, [*rows, {"instruction": "x", "output": "y"}])))
    assert load_dataset(str(path)).system == ""
