"""A training without the rest of a run: what tests of the loop, of memory and of quantized models begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from nuguna.engine.forward import CAREFUL, Shortcuts
from nuguna.engine.step import Objective
from nuguna.model.load import Loaded
from nuguna.tokens.encode import Encoded
from nuguna.tokens.step_batches import StepBatches
from nuguna.train.loop import Keep, Listener, Recipe, Silent, Trained, train
from nuguna.train.objectives import SFT


def listening(**heard: Callable[..., None]) -> Listener:
    """A listener to whom only these matter: `listening(on_step=steps.append)`."""
    listener = Silent()
    for name, callback in heard.items():
        assert hasattr(listener, name), name
        setattr(listener, name, callback)
    return listener


def with_loss(change: Callable[..., Tensor]) -> Objective:
    """Fine-tuning with another loss: `change` is called like the real one."""
    return replace(SFT, loss_sum=change)


def train_model(
    model: Any,
    examples: Sequence[Encoded],
    recipe: Recipe,
    folder: Path,
    *,
    shortcuts: Shortcuts = CAREFUL,
    objective: Objective = SFT,
    plan_hash: str = "hash",
    **heard: Callable[..., None],
) -> Trained:
    """Train a model's adapter; `heard` are methods of the listener."""
    device = next(model.parameters()).device
    batches = StepBatches(examples, recipe.batch_size, recipe.seed, device, shortcuts.packed)
    no_tokenizer: Any = None  # the rows are tokens already
    tuned = Loaded(model, no_tokenizer, frozenset(), shortcuts)
    return train(tuned, batches, objective, recipe, Keep(folder, plan_hash), listening(**heard))
