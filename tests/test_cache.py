"""Encoded examples are kept for the next start, and never mistaken for others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import DEMO_MODEL
from nuguna.data import cache
from nuguna.data.conversation import Conversation, Turn
from nuguna.data.encode import encode, end_token_ids
from nuguna.tokenizer import load_tokenizer

ENDS = frozenset({1})


def conversations(count: int = 5) -> list[Conversation]:
    turns = [(Turn("user", f"{i}번 약은 무엇인가요?"), Turn("assistant", f"나루{i}입니다. " * (i + 1))) for i in range(count)]
    return [Conversation(pair, "x.jsonl", 1) for pair in turns]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def count(*args: object) -> object:
        calls.append(1)
        return encode(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "encode", count)
    return calls


def test_the_second_time_nothing_is_encoded_and_all_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, calls = load_tokenizer(DEMO_MODEL), counted(monkeypatch)
    ends = end_token_ids(tokenizer, None)
    first = cache.encode_all(tokenizer, conversations(), 40, ends, tmp_path / "tokens")
    assert len(calls) == 5 and any(e.cut for e in first) and not all(e.cut for e in first)
    again = cache.encode_all(load_tokenizer(DEMO_MODEL), conversations(), 40, ends, tmp_path / "tokens")
    assert again == first and len(calls) == 5
    (path,) = (tmp_path / "tokens").iterdir()
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0  # another user's eyes: no


@pytest.mark.parametrize("changed", ["window", "ends", "template", "words"])
def test_whatever_changes_the_tokens_is_another_file(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, calls = load_tokenizer(DEMO_MODEL), counted(monkeypatch)
    cache.encode_all(tokenizer, conversations(), 40, ENDS, tmp_path)
    length, ends, asked = 40, ENDS, conversations()
    if changed == "window":
        length = 41
    elif changed == "ends":
        ends = frozenset({1, 2})
    elif changed == "template":
        tokenizer.chat_template += " "
    else:
        asked = [*asked[:-1], Conversation((Turn("user", "?"), Turn("assistant", "!")), "x.jsonl", 1)]
    found = cache.encode_all(tokenizer, asked, length, ends, tmp_path)
    assert len(calls) == 10
    assert found == [encode(tokenizer, c, length, ends) for c in asked]


@pytest.mark.parametrize("damage", [b"", b"not tensors", None])
def test_a_damaged_file_is_made_anew(damage: bytes | None, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(DEMO_MODEL)
    expected = cache.encode_all(tokenizer, conversations(), 40, ENDS, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    assert cache.encode_all(tokenizer, conversations(), 40, ENDS, tmp_path) == expected
    assert cache._read(path) == expected


def test_a_disk_that_takes_nothing_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file where the folder should be")
    assert len(cache.encode_all(load_tokenizer(DEMO_MODEL), conversations(), 40, ENDS, tmp_path / "tokens")) == 5


def test_what_was_used_longest_ago_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(DEMO_MODEL)
    cache.encode_all(tokenizer, conversations(3), 40, ENDS, tmp_path)
    (oldest,) = tmp_path.iterdir()
    os.utime(oldest, (1, 1))
    monkeypatch.setattr(cache, "MOST_BYTES", oldest.stat().st_size + 100)
    cache.encode_all(tokenizer, conversations(2), 40, ENDS, tmp_path)
    assert oldest not in tmp_path.iterdir() and len(list(tmp_path.iterdir())) == 1
