"""The page and the card from values: what they say of chance, which words are marked, which questions come
first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nuguna.base_models.catalog import demo_model
from nuguna.measure.bootstrap import Score
from nuguna.measure.compared import Compared
from nuguna.message import say
from nuguna.plan.plan import make_plan
from nuguna.plan.settings import Request
from nuguna.prove.check import Check
from nuguna.report.card import render_card
from nuguna.report.chart import loss_chart, small_charts
from nuguna.report.findings import numbers
from nuguna.report.outcome import NUM_FIRST, Report, Sample
from nuguna.report.page import render_page
from nuguna.report.questions import marked, questions
from nuguna.report.verdict import HEADLINES, evidence, judge_all
from nuguna.text.language import translator
from nuguna.train.step_log import LoggedStep
from tests.plan.test_plan import FACTS, LAPTOP

UP, DOWN, MAYBE, NONE, STILL = ((5.0, 2.0, 8.0), (-5.0, -8.0, -2.0), (1.0, -1.0, 3.0), (1.0, None, None), (0.0, 0.0, 0.0))
Change = tuple[float, float | None, float | None]
TEMPLATES = Path(__file__).parents[2] / "src" / "nuguna" / "templates"


def a_report(
    rouge_l: Change = UP, loss: Change = DOWN, *, failed: bool = False, more: Mapping[str, Change] | None = None
) -> Report:
    """Return a report whose metrics differ by as much as said: (value, low, high)."""
    change = {"rouge_l": Score(*rouge_l), "loss": Score(*loss), "chrf": Score(*UP), "stop_rate": Score(0.5, 0.4, 0.6)}
    change |= {name: Score(*values) for name, values in (more or {}).items()}
    change["rouge_1"] = change["rouge_l"]
    before = {name: Score(10.0, 8.0, 12.0) for name in change} | {"stop_rate": Score(0.5, 0.4, 0.6)}
    after = {name: Score(before[name].value + change[name].value, 9.0, 40.0) for name in change} | {
        "stop_rate": Score(1.0, 1.0, 1.0)
    }
    scores = Compared(before, after, change, "words", {"bleu": "nrefs:1|tok:13a"})
    trained = SimpleNamespace(steps=40, tokens=4000, seconds=20.0, peak_memory_bytes=2**30, skipped_steps=0)
    return Report(
        status="failed" if failed else "succeeded",
        model="demo",
        data="folder/pairs.csv",
        before={name: score.value for name, score in before.items()},
        after={name: score.value for name, score in after.items()},
        unseen=None,
        train=trained,
        checks=(Check("answers_stop", not failed, say("0 % of them"), say("Train longer.")),),
        samples=some_samples(),
        scores=scores,
        num_heldout=64,
    )


def some_samples() -> tuple[Sample, ...]:
    """Return the first twelve questions, and three later ones that were answered worse than all but the
    second.
    """
    later = {40: 3.0, 50: 1.0, 60: 2.0}
    points = {number: float(10 * number) for number in range(1, NUM_FIRST + 1)} | later | {2: 0.0}
    return tuple(Sample(f"question {n}", "the right answer", "wrong", "an answer", n, 0.0, points[n]) for n in sorted(points))


def some_steps(losses: Sequence[float | None], memory: int = 2**30) -> list[LoggedStep]:
    return [LoggedStep(i + 1, loss, 0.001 * (1 - i / len(losses)), 100.0, memory) for i, loss in enumerate(losses)]


def page(report: Report, lang: str = "en") -> str:
    plan = make_plan(Request(model="demo", output_dir="my results"), LAPTOP, FACTS, (demo_model(),))
    return render_page(report, plan, translator(lang), lang=lang, steps=some_steps([3.0, 2.5, None, 2.0]))


# --- the verdict
# --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rouge_l", "loss", "expected"),
    [
        (UP, DOWN, "better"),
        (UP, MAYBE, "better"),
        (MAYBE, DOWN, "learned"),
        (STILL, DOWN, "not_yet"),
        (MAYBE, MAYBE, "chance"),
        (STILL, STILL, "chance"),
        (DOWN, DOWN, "mixed"),
        (UP, UP, "mixed"),
        (DOWN, MAYBE, "worse"),
        (MAYBE, UP, "worse"),
        (NONE, NONE, "unknown"),
    ],
)
def test_the_headline_follows_the_intervals(rouge_l: Change, loss: Change, expected: str) -> None:
    report = a_report(rouge_l, loss)
    assert judge_all(report) == expected
    assert f"<h1>{HEADLINES[expected]}</h1>" in page(report)
    assert ('class="verdict good"' in page(report)) == (expected == "better")


def test_without_a_measurement_nothing_is_claimed() -> None:
    report = replace(a_report(), scores=None)
    assert judge_all(report) == "unknown" and evidence(report) == []
    assert "really better" not in page(report)


def test_the_verdict_names_what_was_trained_on_what_and_its_numbers() -> None:
    shown = page(a_report())
    assert "demo was trained on pairs.csv for 40 steps." in shown
    assert (
        "On 64 questions" in shown
        and "15.0 of 100 points" in shown
        and "10.0 before" in shown
        and "between +2.0 and +8.0." in shown
    )


def test_where_the_data_has_options_right_choices_decide() -> None:
    report = a_report(DOWN, DOWN, more={"choice_accuracy": UP})
    assert judge_all(report) == "better"
    shown = page(report)
    assert "it gets 15.0 % right; before training it was 10.0 %" in shown and "Right choices" in shown.partition("<details>")[0]


def test_a_failed_run_says_so_first_and_what_to_try() -> None:
    shown = page(a_report(failed=True))
    assert "<h1>The training ended, but the result did not pass its checks.</h1>" in shown and 'class="verdict no"' in shown
    assert "<li>Train longer.</li>" in shown


# --- numbers
# -------------------------------------------------------------------------------------------------------------------
def test_numbers_carry_their_range_and_whether_it_could_be_chance() -> None:
    found = {n["name"]: n for n in numbers(a_report(MAYBE, more={"answer_words": UP, "repetition": DOWN}), str)}
    rouge = found["rouge_l"]
    assert (rouge["before"], rouge["before_range"]) == ("10.0", "8.0 to 12.0")
    assert (rouge["change"], rouge["change_range"], rouge["verdict"]) == ("+1.0", "-1.0 to +3.0", "chance")
    assert rouge["strips"][0] == {"at": 10.0, "low": 8.0, "width": 4.0}
    assert found["loss"]["verdict"] == found["repetition"]["verdict"] == "better"  # less is better
    assert found["answer_words"]["verdict"] == "different" and found["answer_words"]["higher_is_better"] is None
    assert (found["stop_rate"]["change"], found["stop_rate"]["change_range"]) == ("+50 %", "+40 to +60 %")
    assert found["stop_rate"]["after_range"] == ""  # all of them: no range


def test_only_a_real_change_is_coloured_and_further_numbers_can_be_folded() -> None:
    shown = page(a_report(MAYBE))
    assert re.findall(r'<article class="card (\w+)">', shown) == ["chance", "better", "better", "better"]
    cards, _, table = shown.partition("<details>")
    assert "ROUGE-L" in cards and "chrF" in cards and "ROUGE-1" not in cards
    assert "ROUGE-1" in table and "tok:13a" in table


def test_where_the_data_names_key_terms_they_are_among_the_cards() -> None:
    shown = page(a_report(more={"key_terms": MAYBE}))
    assert "Key terms mentioned" in shown.partition("<details>")[0] and shown.count('<article class="card') == 4


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_card_shows_the_intervals(lang: str) -> None:
    report = replace(a_report(MAYBE), data="demo")
    card = render_card(report, translator(lang), name="results", licence="Apache-2.0", languages=["ko"])
    wanted = {
        "en": "| Similar to the right answer (ROUGE-L) | 10.0 (8.0 to 12.0) | 11.0 (9.0 to 40.0) | higher | could be chance |",
        "ko": r"| 정답과 닮은 정도 (ROUGE-L) | 10.0 (8.0 \~ 12.0) | 11.0 (9.0 \~ 40.0) | 높은 쪽 | 우연일 수 있음 |",
    }
    assert wanted[lang] in card
    rows = [line for line in card.splitlines() if line.startswith("|") and "ROUGE" in line or line.startswith("| ---")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]}) == 1  # a table with as many cells in each row


def test_numbers_on_new_subjects_carry_their_range_and_verdict_too() -> None:
    report = a_report(UP)
    elsewhere = a_report(MAYBE).scores
    report = replace(report, unseen=elsewhere)
    found = {n["name"]: n for n in numbers(report, str)}["rouge_l"]
    assert found["verdict"] == "better" and found["unseen"]["verdict"] == "chance"
    assert (found["unseen"]["after"], found["unseen"]["after_range"]) == ("11.0", "9.0 to 40.0")
    assert (found["unseen"]["change"], found["unseen"]["change_range"]) == ("+1.0", "-1.0 to +3.0")
    document = json.loads(json.dumps(report.to_json()))
    assert document["unseen"]["after"]["rouge_l"] == 11.0  # the bare numbers stay where they were
    assert document["unseen_scores"]["change"]["rouge_l"] == {"value": 1.0, "low": -1.0, "high": 3.0, "is_real": False}
    assert a_report().to_json()["unseen_scores"] is None
    cards, _, tables = page(report).partition("<details>")
    assert '10.0 → 11.0 <small>+1.0 (-1.0 to +3.0)</small> <span class="mark">could be chance</span>' in cards
    assert "All numbers on new subjects" in tables and "All numbers on new subjects" not in page(a_report())
    card = render_card(report, str, name="results", licence="Apache-2.0", languages=["ko"])
    assert "| 10.0 (8.0 to 12.0) | 11.0 (9.0 to 40.0) |\n" in card


# --- questions
# -----------------------------------------------------------------------------------------------------------------
def test_words_of_the_right_answer_are_marked_each_as_often_as_there() -> None:
    assert marked("Take aspirin, aspirin helps.", "Aspirin helps the heart.") == [
        ("Take ", False),
        ("aspirin", True),
        (", aspirin ", False),
        ("helps", True),
        (".", False),
    ]
    assert marked("고혈압은 혈압이 높다", "고혈압이란 혈압이 높은 병") == [("고혈압은 혈압이", True), (" 높다", False)]
    assert marked("the cat of a family", "the dog of a family") == [("the cat ", False), ("of a family", True)]
    assert marked("MRI", "an MRI") == [("MRI", True)] and marked("", "a") == []
    for text in ("  spaces \n stay ", "<b>&"):
        assert "".join(piece for piece, _ in marked(text, "stay b")) == text


def test_the_worst_answers_come_first_and_all_that_is_hidden_is_not_among_the_first() -> None:
    shown = questions(some_samples())
    assert [q["number"] for q in shown] == [*range(1, NUM_FIRST + 1), 40, 50, 60]
    worst = sorted((q for q in shown if q["worst"]), key=lambda q: q["worst"])
    assert [q["number"] for q in worst] == [2, 50, 60, 40, 1, 3, 4, 5, 6, 7, 8, 9]
    assert [q["number"] for q in shown if q["first"]] == list(range(1, NUM_FIRST + 1))


def test_what_a_model_wrote_is_only_text() -> None:
    evil = "<script>alert(1)</script>"
    report = replace(a_report(), samples=(Sample(evil, evil, evil, "", 1, 0.0, 0.0),), model=evil)
    for lang in ("en", "ko"):
        shown = page(report, lang)
        assert "<script" not in shown and "http" not in shown.replace("http-equiv", "")
        assert "src=" not in shown and "url(" not in shown


# --- charts
# --------------------------------------------------------------------------------------------------------------------
def test_the_loss_chart_holds_the_held_out_marks() -> None:
    chart = loss_chart(some_steps([3.0, 2.0, 1.5, 1.0] * 5), (9.0, 1.2), str)
    assert (
        chart is not None
        and [m.label for m in chart.marks] == ["9.00", "1.20"]
        and [m.is_after for m in chart.marks] == [False, True]
    )
    frame = chart.frame
    assert chart.marks[0].x == frame.left and chart.marks[1].x == chart.end[0]
    points = [tuple(map(float, pair.split(","))) for pair in f"{chart.raw} {chart.smooth}".split()]
    for x, y in [*points, *((m.x, m.y) for m in chart.marks)]:
        assert frame.left <= x <= frame.right and frame.top <= y <= frame.bottom
    assert loss_chart(some_steps([None, float("nan")]), (1.0, 1.0), str) is None
    alone = loss_chart(some_steps([2.0]), (None, float("inf")), str)
    assert alone is not None and alone.marks == ()


def test_speed_memory_and_learning_rate_are_drawn_where_they_were_measured() -> None:
    steps = some_steps([2.0] * 30)
    assert [chart.name for chart in small_charts(steps, str)] == ["rate", "speed", "memory"]
    assert small_charts(steps, str)[2].title == "Memory (GiB)" and small_charts(steps, str)[0].raw == ""
    assert [chart.name for chart in small_charts(some_steps([2.0] * 30, memory=0), str)] == ["rate", "speed"]
    assert small_charts([], str) == []


# --- the whole
# -----------------------------------------------------------------------------------------------------------------
def test_the_page_of_a_run_is_one_small_file_with_all_of_it(finished_run: Path) -> None:
    shown = (finished_run / "report.html").read_text("utf-8")
    report = json.loads((finished_run / "report.json").read_text("utf-8"))
    assert len(shown.encode()) < 200_000
    assert shown.count("<svg") == 4 and shown.count('class="held') == 2
    first, worst = re.split(r'<div class="samples worst">', shown)
    assert first.count('<article class="sample">') == worst.count('<article class="sample">') == report["num_heldout"]  # so few
    points = {sample["number"]: sample["rouge_l_after"] for sample in report["samples"]}
    numbers_of = [[int(n) for n in re.findall(r'class="nth">(\d+)<', part)] for part in (first, worst)]
    assert numbers_of[0] == sorted(points) and [points[n] for n in numbers_of[1]] == sorted(points.values())
    levels = [int(level) for level in re.findall(r"<h(\d)", shown)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def test_colours_are_readable_in_light_and_dark() -> None:
    css = (TEMPLATES / "report.css").read_text("utf-8")
    parts = css.split("@media screen", 1)[0], css.split("@media screen", 1)[1].split("* {", 1)[0]
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in parts)
    assert light.keys() == dark.keys() and light["ink"] != dark["ink"]
    for colours in (light, dark):
        on = {"ink": ("paper", "card", "wash", "good-wash", "bad-wash", "open-wash"), "soft": ("paper", "card", "wash")}
        on |= {"good": ("card", "good-wash"), "bad": ("card", "bad-wash"), "card": ("good", "bad", "open")}
        for front, backs in on.items():
            for back in backs:
                assert contrast(colours[front], colours[back]) >= 4.5, (front, back)  # WCAG 2.2, 1.4.3
        assert contrast(colours["past"], colours["card"]) >= 3  # 1.4.11, of lines


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
