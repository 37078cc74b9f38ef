"""A run folder: written whole or not at all, never somebody else's, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nuguna.disk.run_folder import is_finished, is_ours, make_folder, move_aside, open_run, read_json, write_json, write_text
from nuguna.errors import EnvironmentFault, ModelError


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"가": 1})
    write_json(tmp_path / "a.json", ["b"])
    assert read_json(tmp_path / "a.json") == ["b"]
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_old_content_stays_when_writing_fails(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "plan.toml", "old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(EnvironmentFault) as caught:
        write_text(tmp_path / "plan.toml", "new")
    assert "No space left" in str(caught.value.seen)
    assert (tmp_path / "plan.toml").read_text() == "old"
    assert os.listdir(tmp_path) == ["plan.toml"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault):
        write_text(tmp_path / "file" / "plan.toml", "")
    with pytest.raises(EnvironmentFault):
        make_folder(tmp_path / "file")


def test_a_damaged_report_is_no_report(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"before": {}}', "\xff"):
        (tmp_path / "report.json").write_text(text, encoding="latin-1")
        assert not is_finished(tmp_path)
    write_json(tmp_path / "report.json", {"status": "failed"})
    assert is_finished(tmp_path)


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        ([], True),
        (["plan.toml"], True),
        (["plan.toml", "adapter_config.json", "tokenizer.json", ".DS_Store", ".plan.toml.7.tmp"], True),
        (["plan.toml", "tensorboard"], True),
        (["tensorboard"], False),  # of another program
        (["plan.toml", "thesis.docx"], False),  # `nuguna plan` was typed in a folder of one's own
        (["adapter_config.json", ".git"], False),
        (["README.md"], False),
        (["training_log_20260101_000000.log"], False),
    ],
)
def test_a_folder_with_anything_strange_in_it_is_not_ours(names: list[str], ours: bool, tmp_path: Path) -> None:
    assert is_ours(fill(tmp_path / "results", *names)) is ours


def test_a_file_is_not_ours_and_neither_is_the_folder_one_works_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_ours(tmp_path / "nothing there")
    assert not is_ours(fill(tmp_path, "plan.toml") / "plan.toml")
    monkeypatch.chdir(tmp_path)
    assert not is_ours(Path("."))  # it could not be renamed to make room


def test_earlier_results_are_numbered_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    assert move_aside(folder) is None
    folder.mkdir()
    assert move_aside(folder) is None
    for number in (1, 2):
        fill(folder, "plan.toml")
        assert move_aside(folder) == tmp_path / f"results.{number}"
    assert not folder.exists()
    assert sorted(os.listdir(tmp_path)) == ["results.1", "results.2"]


def test_opening_a_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no run folder"):
        open_run(tmp_path / "results")
    fill(tmp_path, "adapter_config.json")
    with pytest.raises(ModelError, match="adapter_model.safetensors"):
        open_run(tmp_path)
    assert open_run(fill(tmp_path, "adapter_model.safetensors")) == tmp_path
