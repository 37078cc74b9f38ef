"""A run that goes on: what is decided, how often, and whom it asks."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nuguna import Request, fine_tune
from nuguna.base_models.catalog import BaseModel
from nuguna.errors import Interrupted
from nuguna.hub.models import candidates
from nuguna.machine.hardware import detect
from nuguna.plan.plan import Plan, make_plan
from nuguna.stages import decide as decide_stage
from nuguna.stages.decide import decide_or_go_on
from nuguna.stages.events import Event, Stepped
from nuguna.stages.read import read_data
from tests.conftest import write_pairs


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, model_folder: Callable[..., Path]) -> Request:
    """Return the wishes of a run that was stopped after a step."""
    folder = tmp_path_factory.mktemp("unfinished")
    write_pairs(folder / "pairs.jsonl", 12)
    wishes = Request(
        model=str(model_folder()),
        data=str(folder / "pairs.jsonl"),
        output_dir=str(folder / "results"),
        max_steps=3,
        batch_size=4,
        learning_rate=0.02,
    )

    def stop(event: Event) -> None:
        if isinstance(event, Stepped):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        fine_tune(wishes, tell=stop)
    return wishes


class Decided:
    """Counts decisions and lookups of models."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked_up: list[str] = []
        self.num_plans = 0
        look_up = candidates

        def counted(wish: str) -> tuple[BaseModel, ...]:
            self.looked_up.append(wish)
            return look_up(wish)

        def planned(*args: Any) -> Plan:
            self.num_plans += 1
            return make_plan(*args)

        monkeypatch.setattr(decide_stage, "candidates", counted)
        monkeypatch.setattr(decide_stage, "make_plan", planned)

    def on(self, wishes: Request, **edited: Any) -> Plan:
        return decide_or_go_on(wishes, detect(Path.cwd()), read_data(wishes), edited)[0]


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Decided:
    return Decided(monkeypatch)


def test_a_run_that_goes_on_is_decided_once_and_looks_up_its_own_model(unfinished: Request, decided: Decided) -> None:
    plan = decided.on(unfinished)
    assert (plan.seed.source, plan.max_steps.source, plan.max_steps.value) == ("plan file", "request", 3)
    assert (decided.num_plans, decided.looked_up) == (1, [unfinished.model])


@pytest.mark.parametrize("model", [None, "auto"])
def test_where_no_model_is_wished_the_hub_is_not_asked_for_all(model: str | None, unfinished: Request, decided: Decided) -> None:
    plan = decided.on(replace(unfinished, model=model))
    assert (plan.model.value, plan.model.source) == (unfinished.model, "plan file")
    assert (decided.num_plans, decided.looked_up) == (1, [unfinished.model])


def test_another_wish_or_other_data_is_one_decision_too(unfinished: Request, decided: Decided, tmp_path: Path) -> None:
    assert decided.on(replace(unfinished, learning_rate=0.01)).seed.source == "default"
    assert decided.on(unfinished, warmup_steps=2).seed.source == "default"
    assert decided.on(replace(unfinished, output_dir=str(tmp_path))).seed.source == "default"
    assert decided.num_plans == len(decided.looked_up) == 3
    assert unfinished.data is not None
    data = Path(unfinished.data)
    before = data.read_text(encoding="utf-8")
    data.write_text(before + before.splitlines()[0].replace("1", "2") + "\n", encoding="utf-8")
    try:
        assert decided.on(unfinished).seed.source == "default"
    finally:
        data.write_text(before, encoding="utf-8")
    assert decided.num_plans == len(decided.looked_up) == 4


def test_a_line_that_somebody_deleted_is_decided_anew_and_the_run_goes_on(
    unfinished: Request, decided: Decided, tmp_path: Path
) -> None:
    wishes = copy_of(unfinished, tmp_path)
    edit(wishes, r"seed = .*\n", "")
    plan = decided.on(wishes)
    assert (plan.seed.source, plan.weight_decay.source) == ("default", "plan file")
    assert (decided.num_plans, decided.looked_up) == (1, [unfinished.model])


@pytest.mark.parametrize("line", ["seed = 7", "seed = [", "weight_decay = 0.5", 'dtype = "int3"', "max_steps = 0"])
def test_a_plan_that_somebody_changed_is_not_gone_on_with(
    line: str, unfinished: Request, decided: Decided, tmp_path: Path
) -> None:
    wishes = copy_of(unfinished, tmp_path)
    edit(wishes, rf"{line.split()[0]} = .*", line)
    plan = decided.on(wishes)
    assert (plan.seed.source, plan.seed.value, plan.weight_decay.value, plan.max_steps.value) == ("default", 42, 0.0, 3)
    assert decided.num_plans == len(decided.looked_up) == 1


def copy_of(wishes: Request, folder: Path) -> Request:
    """Return the same run in a folder of its own."""
    assert wishes.output_dir is not None
    shutil.copytree(wishes.output_dir, folder / "copy")
    return replace(wishes, output_dir=str(folder / "copy"))


def edit(wishes: Request, pattern: str, line: str) -> None:
    """Change a line of the plan in the folder."""
    file = Path(str(wishes.output_dir)) / "plan.toml"
    text, count = re.subn(rf"(?m)^{pattern}", line, file.read_text(encoding="utf-8"))
    assert count == 1
    file.write_text(text, encoding="utf-8")
