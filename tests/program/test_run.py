"""The whole job on tiny real models: what it leaves, what it proves, what it does with earlier results and
interruptions.
"""

from __future__ import annotations

import importlib.util
import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import nuguna.model.adapter as adapter_module
import nuguna.model.method as method_module
from nuguna import Request, fine_tune, open_session
from nuguna.engine.loss import loss_sum
from nuguna.errors import Interrupted, ModelError, SettingError, Terminated
from nuguna.machine.hardware import detect
from nuguna.measure.metric_table import METRICS
from nuguna.plan import auto
from nuguna.plan.plan_file import read_plan
from nuguna.prove.check import AFTER_TRAINING
from nuguna.prove.checks import (
    check_adapter_file,
    check_answers_stop,
    check_base_unchanged,
    check_changes_answers,
    check_loss_fell,
    check_reload,
)
from nuguna.run import run
from nuguna.stages import train as train_stage
from nuguna.stages.events import Event, Note, Stepped
from tests.conftest import ARCHITECTURES, write_pairs
from tests.training import with_loss

RUN_FILES = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "metrics.jsonl",
    "plan.toml",
    "report.html",
    "report.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
if importlib.util.find_spec("tensorboard") is not None:
    RUN_FILES.add("tensorboard")
ALWAYS_MEASURED = {metric.name for metric in METRICS if metric.only_for is None}
CHECKS = [row.name for row in AFTER_TRAINING]


def request(folder: Path, model: Path, **wishes: Any) -> Request:
    """Return a run of a few steps on a small dataset."""
    data = folder / "pairs.jsonl"
    if not data.exists():
        write_pairs(data, 12)
    settings = {"max_steps": 6, "batch_size": 4, "learning_rate": 0.02, "output_dir": str(folder / "results"), **wishes}
    return Request(model=str(model), data=str(data), **settings)


def ending_at(step: int, number: int) -> Callable[[Event], None]:
    """Asks for the end after a step, as a user or the system would."""

    def tell(event: Event) -> None:
        if isinstance(event, Stepped) and event.step.step == step:
            signal.raise_signal(number)

    return tell


def test_a_finished_run_holds_exactly_what_was_promised(finished_run: Path) -> None:
    assert {p.name for p in finished_run.iterdir()} == RUN_FILES
    report = json.loads((finished_run / "report.json").read_text("utf-8"))
    assert {"status", "model", "data", "before", "after", "train", "checks"} <= set(report)
    assert report["status"] == "succeeded"
    assert [check["name"] for check in report["checks"]] == CHECKS
    assert set(report["before"]) == set(report["after"]) == ALWAYS_MEASURED
    scores = report["scores"]
    assert set(scores["before"]) == set(scores["after"]) == set(scores["change"]) == ALWAYS_MEASURED
    for name, score in scores["after"].items():
        assert score["value"] == pytest.approx(report["after"][name], abs=1e-6)
        assert score["low"] is None or score["low"] <= score["value"] <= score["high"] or name in ("bleu", "chrf")
    assert {"steps", "tokens", "seconds", "tokens_per_second", "peak_memory_bytes"} <= set(report["train"])
    lines = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert set(lines[0]) == {"step", "loss", "learning_rate", "tokens", "tokens_per_second", "elapsed_seconds", "memory_bytes"}
    assert sum(line["tokens"] for line in lines) == report["train"]["tokens"]


def test_what_memory_allowed_stands_in_the_plan(
    tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(tmp_path, model_folder(), max_steps=3)
    fine_tune(replace(asked, output_dir=str(tmp_path / "free")))
    refused: list[int] = []

    def only_small(model: Any, batch: Any, *rest: Any) -> torch.Tensor:
        if len(batch.lengths) > 2:
            refused.append(len(batch.lengths))
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12")
        return loss_sum(model, batch, *rest)

    monkeypatch.setattr(train_stage, "SFT", with_loss(only_small))  # the trial step has memory enough
    notes: list[str] = []
    fine_tune(asked, tell=lambda event: notes.append(str(event.message)) if isinstance(event, Note) else None)
    before, after = (read_plan(tmp_path / name / "plan.toml")["micro_batch_size"] for name in ("free", "results"))
    assert refused and before == 4 and after in (1, 2)
    assert "memory ran out at step 1 with more" in (tmp_path / "results" / "plan.toml").read_text(encoding="utf-8")
    assert sum("Memory ran out at step 1" in note for note in notes) == len(refused)


def test_the_plan_in_the_folder_repeats_the_run_bit_for_bit(finished_run: Path, tmp_path: Path) -> None:
    from nuguna.plan.plan_file import split_edited
    from nuguna.plan.settings import gather

    wishes, edited = split_edited(read_plan(finished_run / "plan.toml"))
    fine_tune(gather({"output_dir": str(tmp_path / "again")}, {}, wishes), edited=edited)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (finished_run, tmp_path / "again"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_asking_with_and_without_the_adapter(finished_run: Path) -> None:
    question = "What is the color of pill 3?"
    tuned, base = (open_session(finished_run).ask(question), open_session(finished_run, use_base=True).ask(question))
    assert tuned.text != base.text
    streamed: list[str] = []
    assert open_session(finished_run).ask(question, on_text=streamed.append).text == "".join(streamed).strip()


def test_a_conversation_remembers_and_forgets(finished_run: Path) -> None:
    session = open_session(finished_run)
    first = session.ask("What is the color of pill 3?")
    session.ask("And of pill 4?")
    assert [turn.role for turn in session.turns] == ["user", "assistant"] * (len(session.turns) // 2)
    session.reset()
    assert session.ask("What is the color of pill 3?").text == first.text
    session.ask("What is the color of pill 5?", stop=lambda: True)  # stopped after one token: no error


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "llama"])
def test_the_whole_job_on_every_architecture(architecture: str, model_folder: Callable[..., Path], tmp_path: Path) -> None:
    report = fine_tune(request(tmp_path, model_folder(architecture)))
    passed = {check.name: check.passed for check in report.checks}
    assert all(passed[name] for name in CHECKS if name != "answers_stop"), [c.to_json() for c in report.checks]
    assert math.isfinite(report.after["loss"])


def test_a_model_without_a_chat_template_gets_one_that_is_saved_and_used_again(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    fine_tune(request(tmp_path, model_folder("gpt2", chat_template=False)))
    saved = (tmp_path / "results" / "chat_template.jinja").read_text()
    from nuguna.tokens.template import DEFAULT_TEMPLATE

    assert saved == DEFAULT_TEMPLATE
    assert open_session(tmp_path / "results").loaded.tokenizer.chat_template == DEFAULT_TEMPLATE


def test_an_earlier_result_is_kept(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    told: list[Event] = []
    fine_tune(request(tmp_path, model_folder()))
    adapter = (tmp_path / "results" / "adapter_model.safetensors").read_bytes()
    fine_tune(request(tmp_path, model_folder(), seed=1), tell=told.append)
    assert (tmp_path / "results.1" / "adapter_model.safetensors").read_bytes() == adapter
    assert any("results.1" in str(e.message) for e in told if isinstance(e, Note))


def test_an_interrupted_run_goes_on_and_ends_like_an_uninterrupted_one(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    whole = request(tmp_path, model_folder(), output_dir=str(tmp_path / "whole"))
    fine_tune(whole)

    with pytest.raises(Interrupted):
        fine_tune(request(tmp_path, model_folder()), tell=ending_at(4, signal.SIGINT))
    told: list[Event] = []
    fine_tune(request(tmp_path, model_folder()), tell=told.append)
    assert [e.step.step for e in told if isinstance(e, Stepped)] == [5, 6]
    assert not (tmp_path / "results.1").exists()
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "results"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [json.loads(line)["step"] for line in (tmp_path / "results" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_somebody_elses_folder_is_left_alone(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    place = tmp_path / "thesis"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingError) as caught:
        fine_tune(request(tmp_path, model_folder(), output_dir=str(place)))
    assert "OUTPUT_DIR=" in str(caught.value.fix)
    assert [p.name for p in place.iterdir()] == ["thesis.txt"]


def test_wrong_input_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        fine_tune(request(tmp_path, tmp_path / "no such model"))
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.jsonl"]


def test_a_run_whose_check_fails_is_no_success(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_zeros(model: Any, tokenizer: Any, folder: Path) -> None:
        real(model, tokenizer, folder)
        file = folder / "adapter_model.safetensors"
        save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}, file)

    real = adapter_module.save_adapter
    monkeypatch.setattr(method_module, "save_adapter", save_zeros)  # as if saving had lost what was learned
    report = fine_tune(request(tmp_path, model_folder()))
    failed = {check.name for check in report.checks if not check.passed} - {"answers_stop"}  # six steps teach no end
    assert failed == {"adapter_weights", "adapter_complete", "reloads_the_same", "changes_the_model"}
    assert report.status == "failed"
    assert json.loads((tmp_path / "results" / "report.json").read_text("utf-8"))["status"] == "failed"


def test_each_check_can_fail(tmp_path: Path) -> None:
    save_file(
        {"x.lora_A.weight": torch.ones(2), "x.lora_B.weight": torch.tensor([1.0, math.nan])},
        tmp_path / "adapter_model.safetensors",
    )
    logits, other = [torch.tensor([1.0, 2.0])], [torch.tensor([1.0, 2.1])]
    not_a_number = [torch.tensor([1.0, math.nan])]
    assert not check_adapter_file(tmp_path).passed
    assert not check_base_unchanged("a" * 64, "b" * 64).passed
    assert check_reload(logits, logits).passed
    assert not check_reload(logits, other).passed
    assert not check_reload(logits, not_a_number).passed
    assert not check_changes_answers(logits, logits).passed
    assert not check_loss_fell(1.0, 1.0).passed
    assert not check_loss_fell(1.0, math.nan).passed
    assert check_answers_stop(0.95, 0.0, 0.1).passed
    assert check_answers_stop(0.2, 0.01, 0.3).passed  # long answers: by where they should end they have likely ended
    assert not check_answers_stop(0.2, 0.01, 0.2).passed  # the end token was not learned
    assert not check_answers_stop(0.2, None, None).passed


def test_an_unfinished_run_goes_on_as_planned_where_the_machine_looks_otherwise_now(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free memory and what follows from it change from day to day; the same command goes on all the same."""
    monkeypatch.setattr(auto, "SMALL_MODEL_PARAMETERS", 0)  # so that the number format follows from the machine
    machine = replace(detect(tmp_path), dtype="float32")
    asked = request(tmp_path, model_folder())

    with pytest.raises(Terminated):
        run(asked, hardware=replace(machine, dtype="bfloat16"), tell=ending_at(4, signal.SIGTERM))
    told: list[Event] = []
    run(asked, hardware=machine, tell=told.append)
    assert [e.step.step for e in told if isinstance(e, Stepped)] == [5, 6]
    assert 'dtype = "bfloat16"' in (tmp_path / "results" / "plan.toml").read_text()
    assert not (tmp_path / "results.1").exists()


def test_another_wish_begins_anew_and_keeps_what_was_there(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fine_tune(request(tmp_path, model_folder()), tell=ending_at(4, signal.SIGINT))
    told: list[Event] = []
    fine_tune(request(tmp_path, model_folder(), learning_rate=0.002), tell=told.append)
    assert [e.step.step for e in told if isinstance(e, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "results.1" / "checkpoints").is_dir()
    notes = " ".join(str(e.message) for e in told if isinstance(e, Note))
    assert "results.1" in notes
