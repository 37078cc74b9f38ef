"""Failures of training that nobody sees: each known one, put into the code, is caught by the program's own
checks; and these say nothing where all is well.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nuguna.model.adapter as adapter_module
import nuguna.prove.trial_step as trial_step
from nuguna import Request, fine_tune
from nuguna.base_models.checked import CheckedModel
from nuguna.errors import NugunaError, UnsoundError
from nuguna.machine.hardware import Hardware, detect
from nuguna.model.adapter import base_fingerprint
from nuguna.model.load import Loaded
from nuguna.plan.plan import Plan
from nuguna.prove.check import AFTER_TRAINING, BEFORE_TRAINING, Check
from nuguna.prove.checks import probe_logits
from nuguna.stages.decide import decide
from nuguna.stages.divide import divide
from nuguna.stages.events import Note, Tell, quiet
from nuguna.stages.load import attach, bring, save
from nuguna.stages.measure import MeasuredAll, measure_all
from nuguna.stages.preflight import preflight
from nuguna.stages.prove import After, Before, prove
from nuguna.stages.read import read_data
from nuguna.stages.train import train_adapter
from nuguna.tokens.parts import Parts
from nuguna.train.loop import Trained as Totals
from tests.conftest import ARCHITECTURES, write_pairs
from tests.prove.silent_mutations import AFTER, BEFORE, DURING, MUTATIONS, Mutation, fresh_again, saved, scale_lost, table
from tests.training import with_loss

DOCS = Path(__file__).parents[2] / "docs"
# Each takes a third of a second, so that usually one mutation for each check is tried, and some models.
# All of them: NUGUNA_TEST_ALL=1 .venv/bin/pytest tests/prove/test_silent.py
TRIES_ALL = bool(os.environ.get("NUGUNA_TEST_ALL"))


def tried(*times: str) -> list[Mutation]:
    """Return the mutations that are caught at these times: all, or the first for each check."""
    firsts = {mutation.caught_by: mutation for mutation in reversed(MUTATIONS)}
    return [m for m in MUTATIONS if m.when in times and (TRIES_ALL or m is firsts[m.caught_by])]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models of two small layers are no work to be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Ready:
    """A run that could begin to train."""

    tuned: Loaded
    place: CheckedModel
    plan: Plan
    parts: Parts
    base_logits: list[torch.Tensor]
    before: MeasuredAll | None
    fingerprint: str

    def preflight(self, tell: Tell = quiet) -> tuple[Check, ...]:
        return preflight(self.tuned, self.parts, self.plan, self.base_logits, tell)

    def train(self, folder: Path) -> Trained:
        """Return the training and what is measured after it, by the run's own stages."""
        folder.mkdir()
        totals, _ = train_adapter(self.tuned, self.parts, self.plan, folder, "mark", quiet, lambda plan: None)
        return Trained(self, measure_all(self.tuned, self.parts, self.plan, quiet), totals)


@dataclass(frozen=True)
class Trained:
    """A run whose training is over."""

    ready: Ready
    after: MeasuredAll
    totals: Totals

    def finish(self, folder: Path) -> tuple[Check, ...]:
        """Save and prove, by the run's own stages."""
        ready = self.ready
        save(ready.tuned, ready.plan, folder)
        assert ready.before is not None
        before = Before(ready.before, ready.fingerprint, ready.base_logits)
        after = After(ready.tuned, self.after, self.totals)
        return prove(before, after, ready.parts, ready.plan, ready.place, folder)


@pytest.fixture(scope="module")
def machine() -> Hardware:
    return replace(detect(Path.cwd()), device="cpu", dtype="float32")


def make_ready(
    machine: Hardware, model: Path | str, folder: Path, *, measured: bool = False, dtype: str = "float32", **wishes: Any
) -> Ready:
    """Return all stages of a run up to the training."""
    data = wishes.pop("data", None) or str(write_pairs(folder / "pairs.jsonl", 12))
    settings = {"max_steps": 6, "batch_size": 4, "learning_rate": 0.02, "output_dir": str(folder / "results"), **wishes}
    request = Request(model=str(model), data=data, **settings)
    dataset = read_data(request)
    plan, base = decide(request, machine, dataset, {"dtype": dtype, "heldout_examples": 2})
    place, loaded = bring(base, plan, quiet)
    parts = divide(loaded, dataset, plan, quiet)
    before = measure_all(loaded, parts, plan, quiet) if measured else None
    fingerprint, logits = base_fingerprint(loaded.model), probe_logits(loaded, parts.probes)
    return Ready(attach(loaded, base, plan), place, plan, parts, logits, before, fingerprint)


@pytest.mark.parametrize("mutation", tried(BEFORE), ids=lambda m: m.id)
def test_it_is_caught_before_the_training(
    mutation: Mutation,
    machine: Hardware,
    untrained: Callable[..., Ready],
    model_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no example of an unbroken program
    place = model_folder(mutation.architecture)
    if mutation.code is not None:
        mutation.code(monkeypatch)
    with pytest.raises((NugunaError, RuntimeError)) as caught:
        ready = untrained(mutation.architecture) if mutation.code is None else make_ready(machine, place, tmp_path)
        if mutation.late is not None:
            ready = replace(ready, tuned=mutation.late(monkeypatch, ready.tuned) or ready.tuned)
        ready.preflight()
    error = caught.value
    found = error.check if isinstance(error, UnsoundError) else type(error).__name__
    assert found == mutation.caught_by, error
    if found == "RuntimeError":
        assert str(error) == "an example that is measured is among the trained ones"


@pytest.mark.parametrize("mutation", tried(DURING, AFTER), ids=lambda m: m.id)
def test_it_is_caught_in_the_training_or_after_it(
    mutation: Mutation, untrained: Callable[..., Ready], trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mutation.late is not None
    ready = untrained() if mutation.trains else copied(trained.ready)
    mutation.late(monkeypatch, ready.tuned)
    if mutation.when == DURING:
        with pytest.raises(UnsoundError) as caught:
            ready.train(tmp_path / "results")
        assert caught.value.check == mutation.caught_by
        return
    done = ready.train(tmp_path / "results") if mutation.trains else replace(trained, ready=ready)
    failed = {check.name for check in done.finish(tmp_path / "results") if not check.passed}
    assert mutation.caught_by in failed


@pytest.fixture(scope="module")
def untrained(
    machine: Hardware, model_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Ready]:
    """`untrained("gpt2")`: a copy of a run that could begin to train."""
    made: dict[str, Ready] = {}

    def get(architecture: str = "llama") -> Ready:
        if architecture not in made:
            folder = tmp_path_factory.mktemp(f"untrained-{architecture}")
            made[architecture] = make_ready(machine, model_folder(architecture), folder, measured=True)
        return copied(made[architecture])

    return get


@pytest.fixture(scope="module")
def trained(untrained: Callable[..., Ready], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return untrained().train(tmp_path_factory.mktemp("trained") / "results")


def copied(ready: Ready) -> Ready:
    """Return the same with a model and a tokenizer of its own."""
    model, tokenizer = copy.deepcopy((ready.tuned.model, ready.tuned.tokenizer))
    return replace(ready, tuned=replace(ready.tuned, model=model, tokenizer=tokenizer))


def test_a_sound_run_passes_every_check(untrained: Callable[..., Ready], trained: Trained, tmp_path: Path) -> None:
    """The same run as that of the mutations."""
    assert [check.name for check in untrained().preflight()] == [row.name for row in BEFORE_TRAINING]
    checks = replace(trained, ready=copied(trained.ready)).finish(tmp_path / "results")
    assert [check.name for check in checks] == [row.name for row in AFTER_TRAINING]
    assert {check.name for check in checks if not check.passed} <= {"answers_stop"}  # six steps teach no end


@pytest.fixture(scope="module")
def thoughtful(machine: Hardware, model_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a run on thoughts, of a model whose template thinks only when it is told to: the base's
    tokenizer does not.
    """
    folder = tmp_path_factory.mktemp("thoughtful")
    place = shutil.copytree(model_folder("qwen3"), folder / "model")
    shutil.copy(Path(__file__).parents[1] / "tokens" / "templates" / "qwen3.jinja", place / "chat_template.jinja")
    answer = {"role": "assistant", "reasoning_content": "A beetle has six legs.", "content": "Six each."}
    rows = [{"messages": [{"role": "user", "content": f"How many legs have {i} beetles?"}, answer]} for i in range(12)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    ready = make_ready(machine, place, folder, measured=True, data=str(folder / "rows.jsonl"))
    return ready.train(folder / "results")


def thinking_lost(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text("utf-8").replace("enable_thinking = true", "enable_thinking = false"), "utf-8")
    return tensors


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda _, tensors: tensors, set()),
        (thinking_lost, {"reloads_the_same", "base_without_adapter", "asks_as_trained"}),
        (fresh_again, {"reloads_the_same", "changes_the_model", "adapter_complete", "adapter_weights"}),
        (scale_lost, {"reloads_the_same"}),
    ],
    ids=["sound", "thinking_lost", "fresh_again", "scale_lost"],
)
def test_a_run_on_thoughts_is_proved_with_the_prompts_it_was_trained_on(
    change: Any, failing: set[str], thoughtful: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = copied(thoughtful.ready)
    assert "enable_thinking = true" in ready.tuned.tokenizer.chat_template
    saved(change)(monkeypatch, ready.tuned)
    checks = replace(thoughtful, ready=ready).finish(tmp_path / "results")
    failed = {check.name for check in checks if not check.passed}
    assert failed - {"answers_stop"} == failing  # six steps teach no end


PAIRS = [(architecture, dtype) for architecture in ARCHITECTURES for dtype in ("float32", "bfloat16", "float16")]
FEW = [("gemma2", "float32"), ("gpt2", "float32"), ("phi3", "float32"), ("llama", "bfloat16"), ("gpt_neox", "float16")]


@pytest.mark.parametrize(("architecture", "dtype"), PAIRS if TRIES_ALL else FEW)
def test_no_false_alarm_on_any_architecture(
    architecture: str, dtype: str, machine: Hardware, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    ready = make_ready(machine, model_folder(architecture), tmp_path, dtype=dtype)
    assert len(ready.preflight()) == len(BEFORE_TRAINING)
    if dtype == "float32":
        padded = replace(ready, tuned=replace(ready.tuned, shortcuts=replace(ready.tuned.shortcuts, packed=False)))
        assert len(padded.preflight()) == len(BEFORE_TRAINING)


TEXT = '{"text": "' + "약은 물과 함께 드세요. Take the pill with water. " * 3 + '"}\n'
ROWS = {
    "two rows": '{"question": "a?", "answer": "b"}\n{"question": "What is the longest question of all?", "answer": "This."}\n',
    "one row": '{"question": "Who?", "answer": "You."}\n',
    "plain text": "".join(TEXT.replace("Take", f"Take {i}") for i in range(8)),
    "several rounds": "".join(
        f'{{"messages": [{{"role": "system", "content": "Be kind."}}, {{"role": "user", "content": "Hello {i}"}}, '
        f'{{"role": "assistant", "content": "Hi"}}, {{"role": "user", "content": "And {i}?"}}, '
        f'{{"role": "assistant", "content": "Bye {i}"}}]}}\n'
        for i in range(8)
    ),
}


@pytest.mark.parametrize("rows", ROWS)
def test_no_false_alarm_on_odd_data(rows: str, machine: Hardware, model_folder: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(ROWS[rows], encoding="utf-8")
    for chat_template in (True, False):
        place = model_folder("llama", chat_template=chat_template)
        make_ready(machine, place, tmp_path, data=str(tmp_path / "rows.jsonl"), batch_size=1, max_seq_length=64).preflight()


def test_no_false_alarm_on_the_demo_model(machine: Hardware, tmp_path: Path) -> None:
    told = heard(make_ready(machine, "demo", tmp_path, data="demo"))
    assert len(told) == 1 and told[0].startswith(f"{len(BEFORE_TRAINING)} checks before training: all is well")


def heard(ready: Ready) -> list[str]:
    """Return what the preflight tells."""
    told: list[str] = []
    ready.preflight(lambda event: told.append(str(event.message)) if isinstance(event, Note) else None)
    return told


def test_looking_changes_nothing(untrained: Callable[..., Ready]) -> None:
    ready = untrained()
    model = ready.tuned.model
    before, is_training = {n: t.clone() for n, t in model.state_dict().items()}, model.training
    state = torch.get_rng_state()
    ready.preflight()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and model.training == is_training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_signs_that_the_base_never_learned_are_told(untrained: Callable[..., Ready]) -> None:
    ready = untrained()
    tokenizer = ready.tuned.tokenizer
    with torch.no_grad():
        ready.tuned.model.get_input_embeddings().weight[tokenizer.eos_token_id] *= 0.01
    told = heard(replace(ready, base_logits=probe_logits(ready.tuned, ready.parts.probes)))
    assert "never to have learned these special tokens" in told[0] and str(tokenizer.eos_token) in told[0]


def test_too_little_memory_for_the_rehearsal_is_told(untrained: Callable[..., Ready], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(trial_step, "SFT", with_loss(refuse))
    ready = untrained()
    told = heard(ready)
    assert told[0].startswith("There is too little memory") and told[1].startswith(f"{len(BEFORE_TRAINING) - 5} checks")
    assert not any(parameter.any() for name, parameter in ready.tuned.model.named_parameters() if "lora_B" in name)


def test_a_run_that_would_go_wrong_ends_before_its_first_step(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_module, "_shortest", lambda names: ["q_proj"])
    request = Request(
        model=str(model_folder()), data=str(write_pairs(tmp_path / "pairs.jsonl", 12)), output_dir=str(tmp_path / "r")
    )
    with pytest.raises(UnsoundError) as caught:
        fine_tune(request)
    assert caught.value.exit_code == 1 and caught.value.check == "adapter_whole"
    assert not (tmp_path / "r" / "metrics.jsonl").exists() and not (tmp_path / "r" / "report.json").exists()


def test_the_documents_list_every_mutation() -> None:
    assert len(MUTATIONS) == len({mutation.id for mutation in MUTATIONS}) >= 27
    assert any(table() in path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    caught = {mutation.caught_by for mutation in MUTATIONS}
    assert caught >= {row.name for row in BEFORE_TRAINING}  # no check that catches nothing
