"""What to try next: one rule, one test, and the commands are ones that the program takes."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from nuguna.cli import app
from nuguna.report.advice import Tried, advice
from nuguna.report.outcome import Report
from tests.report.test_report import DOWN, MAYBE, NONE, STILL, UP, Change, a_report, some_steps

TRIED = Tried(output_dir="./my results", max_steps=40, learning_rate=0.0003, max_seq_length=512, heldout_examples=64)
LEVEL = some_steps([1.0, 1.1, 0.9] * 10)
PLAN = "nuguna train --plan './my results/plan.toml'"


def report(rouge_l: Change = UP, loss: Change = DOWN, **after: float) -> Report:
    made = a_report(rouge_l, loss)
    return Report(**{**vars(made), "after": {**made.after, **after}})


def names(found: Report, steps: Any = LEVEL) -> list[str]:
    return [one.name for one in advice(found, steps, TRIED)]


def test_where_all_is_well_there_is_only_talking() -> None:
    assert names(report()) == ["fine"] and advice(report(), LEVEL, TRIED)[0].commands == ()


def test_a_loss_that_still_falls_asks_for_more_steps() -> None:
    falling = some_steps([3 - 0.06 * i + 0.05 * (-1) ** i for i in range(40)])
    (found,) = advice(report(), falling, TRIED)
    assert found.name == "still_falling" and found.commands == (f"{PLAN} --max-steps 80",)
    noisy = some_steps([2 + 0.5 * (-1) ** i - 0.002 * i for i in range(40)])
    assert names(report(), noisy) == names(report(), falling[:8]) == ["fine"]
    assert names(report(), some_steps([None, float("nan")] * 20)) == ["fine"]


def test_a_loss_that_climbed_and_came_down_again_does_not_count_as_falling() -> None:
    def steps(*thirds: float) -> Any:
        return some_steps([level + 0.02 * (-1) ** i for level in thirds for i in range(12)])

    assert names(report(), steps(2.0, 2.6, 2.1)) == ["fine"]
    assert names(report(), steps(3.0, 2.6, 2.1)) == ["still_falling"]
    assert names(report(), steps(3.0, 2.1, 2.05)) == ["fine"]  # less than a twentieth
    spikes = [2.0 + 6.0 * (i in (14, 20)) for i in range(36)]  # two bad batches in the middle third
    assert names(report(), some_steps(spikes)) == ["fine"]


def test_a_held_out_loss_that_rose_asks_for_less_training_even_where_the_training_loss_falls() -> None:
    falling = some_steps([3 - 0.06 * i for i in range(40)])
    (found,) = advice(report(loss=UP), falling, TRIED)
    assert found.name == "heldout_rose" and "10.000 to 15.000" in str(found.text)
    assert found.commands == (f"{PLAN} --max-steps 20", f"{PLAN} --learning-rate 0.00015")


def test_answers_that_became_worse_ask_to_read_them() -> None:
    assert names(report(DOWN)) == ["answers_worse"]


def test_answers_that_do_not_end_ask_for_more_steps_or_a_longer_window() -> None:
    (found,) = advice(report(stop_rate=0.42), LEVEL, TRIED)
    assert found.name == "stops_rarely" and "42 %" in str(found.text)
    assert found.commands == (f"{PLAN} --max-steps 80", f"{PLAN} --max-seq-length 1024")
    assert names(report(stop_rate=0.9)) == ["fine"]


def test_answers_that_repeat_themselves_ask_for_a_lower_rate() -> None:
    (found,) = advice(report(repetition=31.0), LEVEL, TRIED)
    assert found.name == "repeats" and found.commands == (f"{PLAN} --learning-rate 0.00015",)
    assert names(report(repetition=9.9)) == ["fine"]


@pytest.mark.parametrize("rouge_l", [MAYBE, NONE])
def test_what_could_be_chance_asks_for_more_questions(rouge_l: Change) -> None:
    (found,) = advice(report(rouge_l), LEVEL, TRIED)
    assert found.name == "could_be_chance" and "heldout_examples = 128" in str(found.text)
    assert found.commands == (PLAN, f"{PLAN} --max-steps 80")


def test_answers_that_did_not_come_nearer_ask_for_more_steps() -> None:
    assert names(report(STILL)) == ["not_nearer"]


def test_the_same_command_is_told_once() -> None:
    found = advice(report(MAYBE, stop_rate=0.1, repetition=50.0), some_steps([3 - 0.06 * i for i in range(40)]), TRIED)
    assert [one.name for one in found] == ["still_falling", "stops_rarely", "repeats", "could_be_chance"]
    commands = [command for one in found for command in one.commands]
    assert len(commands) == len(set(commands)) == 4


def test_every_command_is_one_of_the_program() -> None:
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    flags = {option for parameter in train.params for option in parameter.opts}
    found = [*advice(report(MAYBE, stop_rate=0.1, repetition=50.0), LEVEL, TRIED), *advice(report(DOWN, UP), LEVEL, TRIED)]
    for command in (command for one in found for command in one.commands):
        program, name, *words = shlex.split(command)
        assert (program, name) == ("nuguna", "train") and {word for word in words if word.startswith("--")} <= flags
