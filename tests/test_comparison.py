"""`nuguna compare`: runs beside each other, and no winner where chance could have made the difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nuguna.comparison import compare_runs
from nuguna.errors import ModelError, SettingError


def variant(run: Path, folder: Path, plan: Mapping[str, str] | None = None, **scores: Any) -> Path:
    """A copy of a finished run with other lines in its plan and other scores after training."""
    folder.mkdir()
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    report["scores"]["tokenization"] = scores.pop("tokenization", report["scores"]["tokenization"])
    for name, (value, low, high) in scores.items():
        report["scores"]["after"][name] = {"value": value, "low": low, "high": high}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    lines = (run / "plan.toml").read_text(encoding="utf-8").splitlines()
    changed = [next((f"{n} = {v}" for n, v in (plan or {}).items() if line.startswith(f"{n} = ")), line) for line in lines]
    (folder / "plan.toml").write_text("\n".join(changed) + "\n", encoding="utf-8")
    return folder


def test_what_differs_is_shown_and_what_changes_nothing_is_not(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "other", {"max_steps": "77", "micro_batch_size": "1", "output_dir": '"./x"'})
    found = compare_runs([finished_run, other])
    assert found.differing == {"max_steps": (40, 77)} and not found.warnings
    document = found.to_json()
    assert document["settings"] == {"max_steps": [40, 77]}
    assert [run["run"] for run in document["runs"]] == [str(finished_run), str(other)]
    assert document["runs"][0]["after"] == document["runs"][1]["after"] and document["runs"][0]["train"]["steps"] == 40


@pytest.mark.parametrize(
    ("rows", "lower", "best"),
    [
        ([(30, 25, 35), (50, 45, 55)], False, 1),
        ([(30, 25, 46), (50, 45, 55)], False, None),  # the intervals touch
        ([(1.0, 0.9, 1.1), (2.0, 1.9, 2.1)], True, 0),
        ([(1.0, 0.9, 1.95), (2.0, 1.9, 2.1)], True, None),
        ([(30, 25, 35), (50, None, None)], False, None),
    ],
)
def test_a_run_is_best_only_beyond_chance(
    rows: list[Any], lower: bool, best: int | None, finished_run: Path, tmp_path: Path
) -> None:
    runs = [variant(finished_run, tmp_path / str(i), rouge_l=row) for i, row in enumerate(rows)]
    assert compare_runs(runs).best("rouge_l", lower_is_better=lower) == best


def test_numbers_that_cannot_be_compared_are_told(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "other", {"seed": "7"}, tokenization="words")
    told = [str(warning) for warning in compare_runs([finished_run, other]).warnings]
    assert any("different questions" in text for text in told) and any("take texts apart" in text for text in told)


def test_a_folder_without_a_finished_run_is_named(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least two"):
        compare_runs([finished_run])
    with pytest.raises(ModelError, match="no finished run"):
        compare_runs([finished_run, tmp_path])
    shutil.copy(finished_run / "report.json", tmp_path / "report.json")
    with pytest.raises(ModelError, match="no finished run"):  # no plan
        compare_runs([finished_run, tmp_path])
