"""The training loop: exact repetition, resuming, what it does with numbers that are not numbers."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from nuguna.base_models.checked import check_model
from nuguna.engine.adapter import adapter_parameters
from nuguna.engine.forward import Shortcuts
from nuguna.engine.loss import loss_sum
from nuguna.engine.step import Objective, Outcome, Stepper
from nuguna.errors import DivergedError, Interrupted
from nuguna.machine.device_profile import DEVICE_PROFILES
from nuguna.model.adapter import attach_adapter
from nuguna.model.load import load_base
from nuguna.tokens.encode import Encoded
from nuguna.train.checkpoint import Progress, find_checkpoint, resume, save_checkpoint
from nuguna.train.loop import Recipe, Step, learning_rate_at
from tests.training import train_model, with_loss

ALL_SHORTCUTS = Shortcuts(split_head=True, packed=True, fused=True)
EXAMPLES = [Encoded(ids=tuple(range(5 + i, 15 + i + i % 4)), loss_mask=(False,) * 6 + (True,) * (4 + i % 4)) for i in range(11)]
RECIPE = Recipe(
    max_steps=8,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=0.01,
    warmup_steps=2,
    weight_decay=0.0,
    max_grad_norm=1.0,
    seed=42,
    checkpoint_every=3,
    saving_share=1e9,  # as often as asked: a step here takes less than a save
)


def changed(**values: Any) -> Recipe:
    return Recipe(**{**vars(RECIPE), **values})


def run_loop(
    folder: Path, place: Path, recipe: Recipe = RECIPE, on_step: Callable[[Step], None] | None = None, **given: Any
) -> tuple[Any, list[Step]]:
    """Train a fresh adapter on a tiny model; returns the model and the steps that were reported."""
    base = load_base(check_model(place), dtype="float32", device="cpu").model
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=recipe.seed, gradient_checkpointing=False)
    return model, run_on(model, EXAMPLES, folder, recipe, on_step, **given)


def run_on(
    model: Any,
    examples: Sequence[Encoded],
    folder: Path,
    recipe: Recipe,
    on_step: Callable[[Step], None] | None = None,
    **given: Any,
) -> list[Step]:
    """Train a model's adapter; returns the steps that were reported. `given`: an objective, or who hears
    what.
    """
    steps: list[Step] = []

    def hear(step: Step) -> None:
        steps.append(step)
        if on_step:
            on_step(step)

    train_model(model, examples, recipe, folder, shortcuts=ALL_SHORTCUTS, on_step=hear, **given)
    return steps


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in adapter_parameters(model).values()])


def test_two_runs_give_the_same_adapter_bit_for_bit(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    first, steps = run_loop(tmp_path / "a", model_folder())
    second, again = run_loop(tmp_path / "b", model_folder())
    assert torch.equal(weights(first), weights(second))
    assert [s.loss for s in steps] == [s.loss for s in again]
    other, _ = run_loop(tmp_path / "c", model_folder(), changed(seed=7))
    assert not torch.equal(weights(first), weights(other))


def test_small_gradients_are_not_lost_in_float16(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    """Gradients of a mean over 2,000 tokens, compared with float32 by the angle between them."""
    many = [Encoded(tuple((7 * i + j) % 7000 + 10 for j in range(60)), (False,) * 10 + (True,) * 50) for i in range(40)]
    seen: dict[str, torch.Tensor] = {}
    clip = torch.nn.utils.clip_grad_norm_
    for dtype in ("float32", "float16"):
        base = load_base(check_model(model_folder()), dtype=dtype, device="cpu").model
        model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)

        def look(parameters: Iterable[torch.nn.Parameter], most: float, dtype: str = dtype) -> torch.Tensor:
            parameters = list(parameters)
            seen[dtype] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            return clip(parameters, most)

        with patch("torch.nn.utils.clip_grad_norm_", look):
            run_on(model, many, tmp_path / dtype, changed(max_steps=1, batch_size=40, micro_batch_size=40))
    small = seen["float32"].abs() > 0
    assert not bool((seen["float16"][small] == 0).any())  # without a scale some are
    assert float(torch.cosine_similarity(seen["float16"], seen["float32"], dim=0)) > 0.9999


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])  # GPT-2's configuration asks for dropout
def test_the_micro_batch_size_does_not_change_the_result(
    architecture: str, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    whole, steps = run_loop(tmp_path / "a", model_folder(architecture))
    ones, again = run_loop(tmp_path / "b", model_folder(architecture), changed(micro_batch_size=1))
    torch.testing.assert_close([s.loss for s in steps], [s.loss for s in again], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights(whole), weights(ones), rtol=1e-2, atol=1e-3)  # AdamW's first steps magnify rounding


@pytest.mark.parametrize("stop_at", [1, 3, 4, 7])
def test_interrupted_and_continued_equals_uninterrupted_bit_for_bit(
    stop_at: int, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    whole, steps = run_loop(tmp_path / "whole", model_folder())

    def interrupt(step: Step) -> None:
        if step.step == stop_at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        run_loop(tmp_path / "cut", model_folder(), on_step=interrupt)
    assert caught.value.exit_code == 130
    resumed, rest = run_loop(tmp_path / "cut", model_folder())
    assert [s.step for s in rest] == list(range(stop_at + 1, 9))
    assert torch.equal(weights(whole), weights(resumed))
    assert [s.loss for s in rest] == [s.loss for s in steps[stop_at:]]


def test_a_damaged_or_foreign_checkpoint_is_not_taken(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    base = load_base(check_model(model_folder()), dtype="float32", device="cpu").model
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    parameters = adapter_parameters(model)
    optimizer = torch.optim.AdamW(parameters.values())
    older = save_checkpoint(tmp_path, "mine", Progress(5, 50, 1.0), parameters, optimizer)
    newer = save_checkpoint(tmp_path, "mine", Progress(10, 100, 2.0), parameters, optimizer)
    assert find_checkpoint(tmp_path, "mine") == newer
    assert find_checkpoint(tmp_path, "other") is None
    file = newer / "adapter.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # one bit
    file.write_bytes(content)
    assert find_checkpoint(tmp_path, "mine") == older
    resumed = resume(tmp_path, "mine", parameters, optimizer)
    assert resumed is not None and resumed.progress == Progress(5, 50, 1.0)
    (older / "exp_avg.safetensors").unlink()
    assert resume(tmp_path, "mine", parameters, optimizer) is None
    assert sorted(path.name for path in newer.parent.iterdir()) == ["damaged-step-000005", "damaged-step-000010"]


def test_checkpoints_hold_no_pickle_and_only_the_newest_are_kept(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    run_loop(tmp_path, model_folder(), changed(checkpoint_every=1))
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000007", "step-000008"]  # the last one too: what comes after the training may be interrupted
    assert sorted(p.name for p in (tmp_path / "checkpoints" / kept[0]).iterdir()) == [
        *("adapter.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors", "manifest.json", "step.safetensors")
    ]
    json.loads((tmp_path / "checkpoints" / kept[0] / "manifest.json").read_text())


def broken_loss(bad_steps: set[int]) -> Objective:
    """Return an objective that is infinite at some steps (counted in micro-batches; here each step has
    one).
    """
    count = [0]

    def loss(*args: Any) -> torch.Tensor:
        count[0] += 1
        found = loss_sum(*args)
        return found * math.inf if count[0] in bad_steps else found

    return with_loss(loss)


def test_a_step_without_a_finite_loss_is_skipped_and_told(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    model, steps = run_loop(tmp_path, model_folder(), objective=broken_loss({2, 3, 6}))
    assert [s.step for s in steps if s.loss is None] == [2, 3, 6]
    assert bool(torch.isfinite(weights(model)).all())


def test_three_such_steps_in_a_row_end_the_run(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    with pytest.raises(DivergedError) as caught:
        run_loop(tmp_path, model_folder(), objective=broken_loss({4, 5, 6}))
    assert "step 6" in str(caught.value.what)
    assert "LEARNING_RATE=" in str(caught.value.fix)


@pytest.mark.parametrize("broken", [set(), {2, 3, 6}])
def test_reading_the_losses_later_changes_nothing_but_when_they_are_told(
    broken: set[int], tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an accelerator, whose queue must not run dry."""
    at_once, steps = run_loop(tmp_path / "a", model_folder(), objective=broken_loss(broken))
    monkeypatch.setitem(DEVICE_PROFILES, "cpu", replace(DEVICE_PROFILES["cpu"], num_ahead=1))
    begun = [0]
    real = broken_loss(broken)

    def counted(*args: Any) -> torch.Tensor:
        begun[0] += 1
        return real.loss_sum(*args)

    seen: list[tuple[int, int]] = []
    later, told = run_loop(
        tmp_path / "b", model_folder(), on_step=lambda step: seen.append((step.step, begun[0])), objective=with_loss(counted)
    )
    assert [(s.step, s.loss, s.learning_rate, s.tokens) for s in told] == [
        (s.step, s.loss, s.learning_rate, s.tokens) for s in steps
    ]
    assert torch.equal(weights(later), weights(at_once))
    # a checkpoint after steps 3 and 6 and the end wait for everything; after two steps that were no numbers
    # none is written
    good = [(1, 2), (2, 3), (3, 3), (4, 5), (5, 6), (6, 6), (7, 8), (8, 8)]
    assert seen == ([(1, 2), (2, 3), (3, 3), (4, 4), (5, 6), (6, 7), (7, 7), (8, 8)] if broken else good)


def test_a_step_that_is_skipped_leaves_the_optimizer_as_it_was(
    tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Stepper] = []
    real = Stepper.make_gradients
    monkeypatch.setattr(Stepper, "make_gradients", lambda stepper: (made.append(stepper), real(stepper))[1])  # type: ignore[func-returns-value]
    before: list[torch.Tensor] = []

    def look(step: Step) -> None:
        state = [v for values in made[0].optimizer.state.values() for v in values.values()]
        before.append(torch.cat([v.flatten() for v in state]).clone())

    run_loop(tmp_path, model_folder(), on_step=look, objective=broken_loss({3}))
    assert torch.equal(before[2], before[1]) and not torch.equal(before[3], before[2])


def test_a_broken_adapter_is_never_saved(
    tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Stepper.step

    def poison(stepper: Stepper, *given: Any) -> Outcome:
        outcome = real(stepper, *given)
        with torch.no_grad():
            next(iter(stepper.parameters.values())).view(-1)[0] = math.nan
        return outcome

    monkeypatch.setattr(Stepper, "step", poison)
    with pytest.raises(DivergedError):
        run_loop(tmp_path, model_folder(), changed(checkpoint_every=2))
    assert not (tmp_path / "checkpoints").exists()


def test_the_learning_rate_warms_up_and_falls_to_almost_zero() -> None:
    rates = [learning_rate_at(step, changed(max_steps=100, warmup_steps=10)) for step in range(100)]
    assert rates[0] == pytest.approx(0.001) and rates[9] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.01)
    assert rates[55] == pytest.approx(0.005, rel=0.01)
    assert 0 < rates[-1] < 1e-5
    assert learning_rate_at(0, changed(max_steps=1, warmup_steps=1)) == pytest.approx(0.01)


def test_a_stop_in_the_middle_of_a_step_drops_it_and_loses_none_before(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    def pressed(number: int) -> Objective:
        count = [0]

        def loss(*args: Any) -> torch.Tensor:
            count[0] += 1
            if count[0] == 3:
                signal.raise_signal(number)
            return loss_sum(*args)

        return with_loss(loss)

    before = signal.getsignal(signal.SIGINT)
    whole, _ = run_loop(tmp_path / "whole", model_folder())
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = tmp_path / str(code)
        with pytest.raises(Interrupted) as caught:
            run_loop(folder, model_folder(), objective=pressed(number))
        assert caught.value.exit_code == code and "step 2 of 8" in str(caught.value.what)
        assert signal.getsignal(signal.SIGINT) is before
        assert find_checkpoint(folder, "hash") == folder / "checkpoints" / "step-000002"  # half a step is never kept
        resumed, rest = run_loop(folder, model_folder())
        assert torch.equal(weights(whole), weights(resumed)) and [step.step for step in rest] == [3, 4, 5, 6, 7, 8]
