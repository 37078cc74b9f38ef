"""Large JSONL files are read by several processes, with the same result as by one, whatever stands in
them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nuguna.data import parallel, reading
from nuguna.data.dataset import read_all
from nuguna.data.parallel import Chunk, Found, Known
from tests.data.test_reading import facts


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`shared(n)`: read every JSONL file with n processes, some ten rows at a time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "MIN_SHARED", 0)
    monkeypatch.setattr(parallel, "CHUNK_CHARS", 500)

    def use(count: int) -> None:
        monkeypatch.setattr(reading, "num_processes", lambda: count)

    return use


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Found | None]:
    """Yield what the other processes gave for each chunk."""
    seen: list[Found | None] = []
    real = parallel.read_chunks

    def watched(*args: object) -> Iterator[tuple[Chunk, Found | None]]:
        for chunk, found in real(*args):  # type: ignore[arg-type]
            seen.append(found)
            yield chunk, found

    monkeypatch.setattr(reading, "read_chunks", watched)
    return seen


def rows() -> list[dict[str, object]]:
    made: list[dict[str, object]] = [
        {"instruction": f"{i}번 약의 색은?", "response": f"빨강 {i % 7}" * (i % 5 + 1)} for i in range(400)
    ]
    made[150]["system"] = "Answer shortly."  # a column that begins late, and belongs to an example
    made[290]["colour"] = "red"  # one that does not
    made[200]["response"] = None
    made[203]["response"] = "<think>생각</think>답"
    made[300]["instruction"] = ["a", "list"]
    return made


def write(path: Path) -> str:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows()]
    lines[120] += b","
    lines[170] = b'{"instruction": "cut'
    lines[310] = lines[310].replace("빨강".encode(), b"\xff\xfe")
    lines[320] = b"[1, 2]"
    path.write_bytes(b"\r\n".join(lines))  # no line break at the end
    return str(path)


def test_several_processes_find_what_one_finds(
    tmp_path: Path, shared: Callable[[int], None], answers: list[Found | None]
) -> None:
    source = write(tmp_path / "rows.jsonl")
    shared(0)
    expected = read_all(source)
    assert not answers and expected.num_bad == 5 and any("colour" in str(note) for note in expected.notes)
    shared(3)
    found = read_all(source)
    assert facts(found) == facts(expected)
    assert [(c.file, c.line, c.changes) for c in found.train] == [(c.file, c.line, c.changes) for c in expected.train]
    assert sum(answer is not None for answer in answers) > 10
    # those behind a column that begins late were read with a shape that did not know it
    assert sum(answer is None for answer in answers) >= 2


def test_a_process_that_ends_or_never_starts_costs_nothing_but_time(
    tmp_path: Path, shared: Callable[[int], None], answers: list[Found | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "rows.jsonl")
    shared(0)
    expected = facts(read_all(source))
    shared(2)
    for command in ("raise SystemExit(3)", "print('{}')", "import sys; sys.stdin.buffer.readline(); print('[{}, [7]]')"):
        monkeypatch.setattr(parallel, "_COMMAND", command)
        assert facts(read_all(source)) == expected
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    assert facts(read_all(source)) == expected
    assert answers and not any(answers)


def test_a_chunk_with_a_column_that_is_not_known_is_handed_back(tmp_path: Path, shared: Callable[[int], None]) -> None:
    shared(0)
    shape = read_all(write(tmp_path / "rows.jsonl")).shapes[0]
    chunk = Chunk('{"instruction": "a", "response": "b"}\n{"instruction": "c", "response": "d", "new": 1}\n', "x.jsonl", 7)
    assert parallel.read_chunk(chunk, Known(shape, frozenset(("instruction", "response")))) is None
    found = parallel.read_chunk(chunk, Known(shape, frozenset(("instruction", "response", "new"))))
    assert found is not None and found.counts.num_rows == 2 and len(found.lines) == sum(found.sizes)
