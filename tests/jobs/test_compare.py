"""`nuguna compare`: runs beside each other, in the terminal and on a page, and no winner where it could be
chance.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nuguna.errors import EnvironmentFault, ModelError, SettingError
from nuguna.jobs.compare import compare_runs, write_comparison
from nuguna.report.chart import loss_curves
from nuguna.report.ranking import Comparison, rank
from nuguna.report.runs_page import NUM_STYLES, render_comparison
from nuguna.text.language import translator
from tests.program.test_cli import nuguna
from tests.report.test_report import TEMPLATES, contrast, some_steps

Points = Callable[[int, float], float]  # number of a question and its ROUGE-L, 0 to 1 → what it shall be


def variant(run: Path, folder: Path, plan: Mapping[str, str] | None = None, **scores: Any) -> Path:
    """Return a copy of a finished run with other lines in its plan and other scores after training, which its
    questions do not show.
    """

    def change(report: dict[str, Any]) -> None:
        report["scores"]["tokenization"] = scores.pop("tokenization", report["scores"]["tokenization"])
        if scores:
            del report["each_question"]  # as in a report of an earlier version
        for name, (value, low, high) in scores.items():
            report["scores"]["after"][name] = {"value": value, "low": low, "high": high}

    return changed(run, folder, change, plan)


def changed(run: Path, folder: Path, change: Callable[[dict[str, Any]], None], plan: Mapping[str, str] | None = None) -> Path:
    """Return a copy of a finished run with another report and other lines in its plan."""
    folder.mkdir()
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    change(report)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    lines = (run / "plan.toml").read_text(encoding="utf-8").splitlines()
    new = [next((f"{n} = {v}" for n, v in (plan or {}).items() if line.startswith(f"{n} = ")), line) for line in lines]
    (folder / "plan.toml").write_text("\n".join(new) + "\n", encoding="utf-8")
    shutil.copy(run / "metrics.jsonl", folder)
    return folder


def answering(run: Path, folder: Path, points: Points, loss: float = 1.0, **plan: str) -> Path:
    """Return a copy whose answers got other points, and whose losses are multiplied."""

    def change(report: dict[str, Any]) -> None:
        sums = report["each_question"]["sums"]
        sums["rouge_l"] = [[points(i, value), count] for i, (value, count) in enumerate(sums["rouge_l"])]
        sums["loss"] = [[loss * value, count] for value, count in sums["loss"]]

    return changed(run, folder, change, plan)


def asking(run: Path, folder: Path, num_other: int) -> Path:
    """Return a copy that was measured on other questions in the place of the last `num_other`, and better by
    far.
    """

    def change(report: dict[str, Any]) -> None:
        each = report["each_question"]
        kept = len(each["marks"]) - num_other
        each["marks"] = [*each["marks"][:kept], *(f"other {i}" for i in range(num_other))]
        each["sums"]["rouge_l"] = [[value + 0.5, count] for value, count in each["sums"]["rouge_l"]]

    return changed(run, folder, change)


def test_what_differs_is_shown_and_what_changes_nothing_is_not(finished_run: Path, tmp_path: Path) -> None:
    other = variant(finished_run, tmp_path / "other", {"max_steps": "77", "micro_batch_size": "1", "output_dir": '"./x"'})
    found = compare_runs([finished_run, other])
    assert found.differing == {"max_steps": (40, 77)} and not found.warnings
    document = found.to_json()
    assert document["settings"] == {"max_steps": [40, 77]}
    assert [run["run"] for run in document["runs"]] == [str(finished_run), str(other)]
    assert document["runs"][0]["after"] == document["runs"][1]["after"] and document["runs"][0]["train"]["steps"] == 40


# --- which is best
# -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "rows", "best"),
    [
        ("rouge_l", [(30, 25, 35), (50, 45, 55)], 1),
        ("rouge_l", [(30, 25, 46), (50, 45, 55)], None),  # the intervals touch
        ("loss", [(1.0, 0.9, 1.1), (2.0, 1.9, 2.1)], 0),
        ("loss", [(1.0, 0.9, 1.95), (2.0, 1.9, 2.1)], None),
        ("rouge_l", [(30, 25, 35), (50, None, None)], None),
        ("answer_words", [(30, 25, 35), (50, 45, 55)], None),  # neither more nor less is better
    ],
)
def test_reports_without_questions_are_compared_by_their_intervals(
    name: str, rows: list[Any], best: int | None, finished_run: Path, tmp_path: Path
) -> None:
    found = compare_runs([variant(finished_run, tmp_path / str(i), **{name: row}) for i, row in enumerate(rows)])
    assert found.shared is None and found.best(name) == best
    if name == "rouge_l":
        assert rank(found).kind == ("best" if best is not None else "unknown" if None in rows[1] else "chance")


@pytest.mark.parametrize(
    ("points", "loss", "kind", "first"),
    [
        (lambda i, value: value + 0.02, 1.0, "best", 1),  # every question a little: no interval would show it
        (lambda i, value: value - 0.02, 1.0, "best", 0),
        (lambda i, value: value + (0.11 if i % 2 else -0.1), 1.0, "chance", 1),
        (lambda i, value: value + (0.11 if i % 2 else -0.1), 0.8, "likelier", 1),
        (lambda i, value: value, 1.0, "alike", None),
        (lambda i, value: value, 1.2, "likelier", 0),
    ],
)
def test_runs_are_ranked_question_by_question(
    points: Points, loss: float, kind: str, first: int | None, finished_run: Path, tmp_path: Path
) -> None:
    other = answering(finished_run, tmp_path / "other", points, loss)
    found = compare_runs([finished_run, other])
    ranking = rank(found)
    assert (ranking.kind, ranking.first) == (kind, first)
    assert found.best("rouge_l") == (first if kind == "best" else None)
    name = found.labels[first] if first is not None else ""
    assert name in str(ranking.headline) and "same" in str(ranking.reasons[0])


def test_the_best_of_three_must_beat_both(finished_run: Path, tmp_path: Path) -> None:
    good, near = (
        answering(finished_run, tmp_path / name, points)
        for name, points in (("good", lambda i, value: value + 0.2), ("near", lambda i, value: value + (0.30 if i % 2 else 0.08)))
    )
    assert rank(compare_runs([finished_run, good])).kind == rank(compare_runs([finished_run, near])).kind == "best"
    ranking = rank(compare_runs([finished_run, good, near]))
    assert ranking.kind == "chance" and "good" in str(ranking.headline)


def test_a_run_that_is_best_in_one_way_only_is_told_so_and_one_that_failed_too(finished_run: Path, tmp_path: Path) -> None:
    other = answering(finished_run, tmp_path / "other", lambda i, value: value + 0.1, 1.5)
    report = json.loads((other / "report.json").read_text("utf-8"))
    (other / "report.json").write_text(json.dumps({**report, "status": "failed"}), "utf-8")
    found = compare_runs([finished_run, other])
    told = [str(reason) for reason in rank(found).reasons]
    assert any("surprise results less" in text for text in told)
    assert told[-1] == "other did not pass all its checks: do not rely on it."
    assert 'class="verdict open"' in render_comparison(found, str, lang="en")  # no praise for it


def test_other_questions_cannot_be_ranked_and_shared_ones_can(finished_run: Path, tmp_path: Path) -> None:
    num = len(compare_runs([finished_run, finished_run]).shared or ())
    assert num > 6
    apart = compare_runs([finished_run, asking(finished_run, tmp_path / "apart", num - 4)])
    assert rank(apart).kind == "apart" and not any(apart.best(name) is not None for name in apart.scores())
    assert str(rank(apart).reasons[0]) == "Only 4 of their questions are the same."
    shown = render_comparison(apart, str, lang="en")
    assert "they cannot be ranked" in shown and "nuguna evaluate" in shown and 'class="star"' not in shown
    partly = compare_runs([finished_run, asking(finished_run, tmp_path / "partly", num - 6)])
    ranking = rank(partly)
    assert (ranking.kind, ranking.first) == ("best", 1) and "rests on the 6 that all were asked" in str(ranking.reasons[0])
    assert any("different questions" in str(warning) for warning in partly.warnings)
    other_seed = compare_runs([variant(finished_run, tmp_path / str(i), {"seed": str(i)}, rouge_l=(i, i, i)) for i in (1, 2)])
    ranking = rank(other_seed)  # their reports do not name the questions, but their plans say enough
    assert ranking.kind == "apart" and "they differ: seed." in str(ranking.reasons[0])


def test_numbers_that_cannot_be_compared_are_told(finished_run: Path, tmp_path: Path) -> None:
    words = variant(finished_run, tmp_path / "words", tokenization="words")
    found = compare_runs([finished_run, words])
    assert any("split texts" in str(warning) for warning in found.warnings)
    assert not found.is_comparable("rouge_l") and found.is_comparable("loss") and rank(found).kind == "alike"
    better = answering(words, tmp_path / "better", lambda i, value: value, 0.5)
    assert rank(compare_runs([finished_run, better])).kind == "loss_only"
    both = variant(words, tmp_path / "both", {"model": '"another"'})
    found = compare_runs([finished_run, both])
    assert rank(found).kind == "unlike" and any("base models" in str(warning) for warning in found.warnings)


def test_a_folder_without_a_finished_run_is_named(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least two"):
        compare_runs([finished_run])
    with pytest.raises(ModelError, match="no finished run"):
        compare_runs([finished_run, tmp_path])
    shutil.copy(finished_run / "report.json", tmp_path / "report.json")
    with pytest.raises(ModelError, match="no finished run"):  # no plan
        compare_runs([finished_run, tmp_path])


# --- the page
# ------------------------------------------------------------------------------------------------------------------
def three(finished_run: Path, folder: Path) -> Comparison:
    """Return a run, one that is better, and one that failed, has no log and hostile words in it."""
    evil = "<script>alert(1)</script>"
    better = answering(finished_run, folder / "better", lambda i, value: value + 0.1, max_steps="80", learning_rate="0.001")

    def spoil(report: dict[str, Any]) -> None:
        report["status"] = "failed"
        report["checks"][-1]["passed"] = False
        for sample in report["samples"]:
            sample["after"] = evil

    broken = changed(finished_run, folder / "<b>broken", spoil, {"data_columns": f'"{evil}"'})
    (broken / "metrics.jsonl").unlink()
    return compare_runs([finished_run, better, broken])


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_is_one_file_with_all_of_it_and_only_text_of_others(lang: str, finished_run: Path, tmp_path: Path) -> None:
    shown = render_comparison(three(finished_run, tmp_path), translator(lang), lang=lang)
    assert "<script" not in shown and "<b>broken" not in shown and "http" not in shown.replace("http-equiv", "")
    assert "src=" not in shown and "url(" not in shown and len(shown.encode()) < 200_000
    headline = {"en": "better is best on the held-out questions", "ko": "빼 둔 질문에서 better의 결과가 가장 좋고"}
    assert headline[lang] in re.findall(r"<h1>(.*?)</h1>", shown)[0] and 'class="verdict good"' in shown
    assert sorted(re.findall(r"<code>(\w+)</code>", shown)) == ["data_columns", "learning_rate", "max_steps"]
    assert shown.count('<polyline class="curve') == 2 and shown.count("&lt;script&gt;") > 1  # the third has no log
    assert {"en": "no loss recorded", "ko": "손실 기록 없음"}[lang] in shown
    samples = shown.partition('class="samples"')[2]
    assert 5 < samples.count("<article") <= 12 and samples.count('<div class="new">') == 3 * samples.count("<article")
    assert {"en": "9 of 10 passed", "ko": "10개 가운데 9개 통과"}[lang] in shown
    levels = [int(level) for level in re.findall(r"<h(\d)", shown)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_the_curves_of_runs_are_told_apart_without_colour() -> None:
    falling = [some_steps([3.0 - step * i for i in range(20)]) for step in (0.1, 0.1001, 0.0999)]
    chart = loss_curves([*zip("ABC", falling, strict=True), ("D", some_steps([None]))], str)
    assert chart is not None and [curve.label if curve else None for curve in chart.curves] == ["A", "B", "C", None]
    curves = [curve for curve in chart.curves if curve is not None]
    heights = sorted(curve.label_y for curve in curves)
    assert all(below - above >= 26 for above, below in zip(heights, heights[1:], strict=False))  # names do not lie on each other
    assert all(chart.frame.top <= height <= chart.frame.bottom for height in heights)
    assert "A: 2.95 at step 1" in chart.description
    rising = loss_curves([(name, some_steps([1.0 + 0.1 * i for i in range(20)])) for name in "ABC"], str)
    assert rising is not None and all(curve is not None and curve.label_y >= rising.frame.top for curve in rising.curves)
    many = loss_curves([(str(i), falling[0]) for i in range(30)], str)
    assert many is not None and all(0 <= curve.label_y <= chart.frame.bottom for curve in many.curves if curve)
    assert loss_curves([("A", some_steps([None]))], str) is None
    css = (TEMPLATES / "comparison.css").read_text("utf-8")
    dashes = re.findall(r"^\.run-\d \{.*--dash: (.*?);", css, re.MULTILINE)
    assert len(set(dashes)) == len(dashes) == NUM_STYLES
    cards = re.findall(r"--card: (#\w{6})", (TEMPLATES / "report.css").read_text("utf-8"))  # light, dark
    for card, colours in zip(cards, css.split("@media screen", 2)[:2], strict=False):
        found = re.findall(r"--run-\d: (#\w{6})", colours)
        assert len(found) == NUM_STYLES and all(contrast(colour, card) >= 4.5 for colour in found)  # letters stand on them


def test_an_earlier_page_is_replaced_and_a_file_of_somebody_else_is_not(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = compare_runs([finished_run, finished_run])
    assert write_comparison(found, None, str, lang="en") == write_comparison(found, None, translator("ko"), lang="ko")
    assert '<html lang="ko">' in Path("comparison.html").read_text("utf-8")
    for name in ("mine.html", "binary.html"):
        Path(name).write_bytes(b"<html>years of work</html>" if name == "mine.html" else bytes(range(256)))
        with pytest.raises(SettingError, match="not overwritten") as caught:
            write_comparison(found, Path(name), str, lang="en")
        assert "--page" in str(caught.value.fix)
    assert Path("mine.html").read_text() == "<html>years of work</html>"
    with pytest.raises(EnvironmentFault) as fault:
        write_comparison(found, Path("no/such/folder.html"), str, lang="en")
    assert "--page" in str(fault.value.fix)


def test_the_command_says_where_the_page_is(finished_run: Path, tmp_path: Path) -> None:
    better = str(answering(finished_run, tmp_path / "better", lambda i, value: value + 0.1))
    shown = nuguna(tmp_path, "compare", str(finished_run), better)
    assert shown.returncode == 0 and "See it as a page: comparison.html" in shown.stdout
    page = (tmp_path / "comparison.html").read_text("utf-8")
    headline = re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert headline in shown.stdout and "* " in shown.stdout.replace("★", "*")  # both say the same
    (tmp_path / "comparison.html").unlink()
    document = json.loads(nuguna(tmp_path, "compare", str(finished_run), better, "--json").stdout)
    assert document["verdict"]["kind"] == "best" and document["verdict"]["run"] == better and "page" not in document
    assert document["verdict"]["text"] == headline and not (tmp_path / "comparison.html").exists()
    asked = nuguna(tmp_path, "compare", str(finished_run), better, "--json", "--page", "here.html")
    assert json.loads(asked.stdout)["page"] == "here.html" and (tmp_path / "here.html").is_file()
    (tmp_path / "comparison.html").write_text("my own notes")
    refused = nuguna(tmp_path, "compare", str(finished_run), better)
    assert refused.returncode == 2 and headline in refused.stdout and "--page" in refused.stdout + refused.stderr
    assert (tmp_path / "comparison.html").read_text() == "my own notes"
