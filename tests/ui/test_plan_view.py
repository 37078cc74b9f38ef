"""The plan as people see it: memory as a picture, the next larger models, and how long a run still takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nuguna.base_models.catalog import demo_model
from nuguna.message import say
from nuguna.plan.memory import MemoryEstimate
from nuguna.plan.misfit import misfit
from nuguna.plan.plan import Plan, make_plan
from nuguna.plan.settings import Request
from nuguna.plan.timing import TimeEstimate
from nuguna.stages.events import Planned, Stepped
from nuguna.text.language import translator
from nuguna.ui.labels import error_lines
from nuguna.ui.plan_view import BAR_CELLS, larger_lines, memory_picture
from nuguna.ui.remaining import PREDICTED_STEPS, STEPS_TO_JUDGE, Remaining
from nuguna.ui.screen import Screen
from tests.plan.test_plan import FACTS, LAPTOP, known, machine

GIB = 2**30


def made(usable: int, **parts: int) -> Plan:
    plan = make_plan(Request(), LAPTOP, FACTS, (demo_model(),))
    memory = MemoryEstimate(parts)
    return replace(plan, memory=memory, usable_bytes=usable, fits=memory.total_bytes <= usable)


def unicode(sign: str, plain: str) -> str:
    return sign


def test_the_bars_together_fill_the_usable_memory() -> None:
    rows = list(memory_picture(made(8 * GIB, weights=4 * GIB, adapter=GIB, overhead=GIB), str, unicode))
    assert [(name, size) for name, _, size in rows] == [
        ("base model", "4.0 GiB"),
        ("adapter and its gradients", "1.0 GiB"),
        ("libraries and reserve", "1.0 GiB"),
        ("left", "2.0 GiB"),
        ("usable", "8.0 GiB"),
    ]
    bars = [bar for _, bar, _ in rows]
    assert [(len(bar) - len(bar.lstrip()), len(bar)) for bar in bars] == [(0, 16), (16, 20), (20, 24), (24, 32), (0, 32)]
    assert set(bars[0]) == {"█"} and set(bars[3].strip()) == {"·"} and BAR_CELLS == 32


def test_too_much_goes_beyond_and_a_small_part_is_seen() -> None:
    rows = list(memory_picture(made(GIB, weights=2 * GIB, adapter=1000), str, lambda sign, plain: plain))
    assert [name for name, _, _ in rows] == ["base model", "adapter and its gradients", "too much", "usable"]
    assert rows[1][1].strip() == "#" and rows[2][1].strip() == "x" * 16 and rows[3][1] == "-" * 16


def test_a_plan_on_the_screen_has_its_picture_time_and_larger_models_in_both_languages() -> None:
    plan = make_plan(Request(model="demo"), LAPTOP, FACTS, (demo_model(),))
    for lang in ("en", "ko"):
        console = Console(record=True, width=140, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
        Screen(console, translator(lang)).plan(plan)
        shown = console.export_text()
        assert "█" in shown and "·" in shown
        for larger in plan.larger:
            assert larger.model in shown
        console.file.close()
    assert [line.template.split(",")[1].split(":")[0] for line in larger_lines(plan)] == [
        " and would fit too",
        " but does not fit with room to spare",
    ]


def test_what_does_not_fit_is_told_in_three_sentences() -> None:
    base = known("Qwen/Qwen3-14B")
    error = misfit(make_plan(Request(model=base.id), LAPTOP, FACTS, (base,)))
    assert error is not None
    what, seen, fix = error_lines(error, str)
    assert "does not fit" in what and "base model" in seen and "MODEL=" in fix and " needs " in fix


# Time that is left


def step(number: int, elapsed: float, of: int = 100) -> Any:
    return SimpleNamespace(step=number, max_steps=of, elapsed_seconds=elapsed)


PREDICTED = TimeEstimate({"loading": 10.0, "measuring_before": 20.0, "training": 200.0, "measuring_after": 30.0, "proving": 10.0})


def remaining(seconds_since_plan: float = 0.0) -> Remaining:
    times = iter([0.0] + [seconds_since_plan] * 100)
    return Remaining(PREDICTED, 100, now=lambda: next(times))


def test_the_prediction_stands_at_first_even_when_the_first_step_is_slow() -> None:
    assert remaining().after(step(1, elapsed=30.0)) == pytest.approx(2.0 * 99 + 40)


def test_steps_that_are_made_correct_it() -> None:
    left = remaining()
    left.after(step(1, 30.0))
    # four more steps of 4 seconds, predicted were 2; the prediction counts as three steps
    each = (PREDICTED_STEPS * 2.0 + 16.0) / (PREDICTED_STEPS + 4)
    assert left.after(step(5, 46.0)) == pytest.approx(each * 95 + 40 * each / 2)
    assert left.after(step(99, 30.0 + 98 * 4)) == pytest.approx(4 + 80, rel=0.05)  # at last what was measured


def test_after_the_last_step_measuring_and_proving_are_left() -> None:
    left = remaining()
    left.after(step(1, 2.0))
    assert left.after(step(100, 200.0)) == pytest.approx(40)


def test_a_run_that_goes_on_counts_its_own_steps() -> None:
    left = remaining()
    left.after(step(51, 500.0))
    assert left.after(step(61, 520.0)) == pytest.approx(2.0 * 39 + 40)
    assert left.correction(step(80, 2000.0)) is None  # the prediction is of the whole


def test_a_wrong_prediction_is_said_once_and_a_right_one_never() -> None:
    left = remaining(seconds_since_plan=60.0)
    said = [left.correction(step(number, 4.0 * number)) for number in range(1, 40)]
    told = [(number, message) for number, message in enumerate(said, 1) if message is not None]
    assert [number for number, _ in told] == [1 + STEPS_TO_JUDGE]
    assert told[0][1].values["predicted"] == "0:04:30"
    hours, minutes, seconds = map(int, str(told[0][1].values["total"]).split(":"))
    each = (PREDICTED_STEPS * 2 + STEPS_TO_JUDGE * 4) / (PREDICTED_STEPS + STEPS_TO_JUDGE)
    assert hours * 3600 + minutes * 60 + seconds == pytest.approx(60 + each * 91 + 20 * each, abs=1)
    right = remaining(seconds_since_plan=48.0)
    assert all(right.correction(step(number, 2.0 * number)) is None for number in range(1, 40))


def test_the_screen_shows_the_predicted_time_that_is_left() -> None:
    plan = replace(make_plan(Request(max_steps=100), LAPTOP, FACTS, (demo_model(),)), time=PREDICTED)
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=140, file=nowhere)
        screen = Screen(console, str)
        screen(Planned(plan, machine(dtype_reason=say("because"))))
        screen(Stepped(SimpleNamespace(**vars(step(1, elapsed=9.0)), loss=1.0, tokens_per_second=1.0)))  # type: ignore[arg-type]
        assert "0:03:58 left" in console.export_text()
