"""The seam at which an engine docks: all that the stages ask of whatever computes. Torch is the first; MLX
would be another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..base_models.checked import CheckedModel
from ..data.conversations.conversation import Conversation
from ..engine.forward import find_shortcuts
from ..engine.step import Objective, Stepper
from ..tokens.encode import Encoded
from .generate import Answer, answer
from .load import Loaded, load_base, require_quantization
from .losses import OnLess, heldout_losses, ignore_less
from .method import Method


@dataclass(frozen=True)
class Placement:
    """Where and in which numbers a model computes."""

    device: str
    dtype: str
    quantization: str = "none"


class Engine(Protocol):
    """Load a base, let it learn, ask it, save what it learned."""

    def require(self, placement: Placement) -> None:
        """Raise `EnvironmentFault` where this engine cannot compute so, before anything is downloaded."""

    def load(self, base: CheckedModel, placement: Placement) -> Loaded:
        """Return the base model, and what may be left out in computing it without a difference."""

    def attach(
        self, loaded: Loaded, method: Method, *, base_name: str, seed: int, gradient_checkpointing: bool
    ) -> Loaded:
        """Return the same model, ready to learn by `method`."""

    def stepper(
        self,
        tuned: Loaded,
        objective: Objective,
        *,
        learning_rate: float,
        weight_decay: float,
        max_grad_norm: float,
    ) -> Stepper:
        """Return what takes optimizer steps on the model."""

    def losses(
        self, loaded: Loaded, examples: Sequence[Encoded], batch_size: int, on_less: OnLess
    ) -> list[tuple[float, float]]:
        """Return (summed cross-entropy, number of trained tokens) of each example."""

    def answers(
        self,
        loaded: Loaded,
        asked: Sequence[Conversation],
        *,
        max_new_tokens: int,
        cache_bytes: int,
        on_less: OnLess,
    ) -> list[Answer]:
        """Return greedy answers to the last question of each conversation."""

    def save(self, tuned: Loaded, method: Method, folder: Path) -> None:
        """Write what was learned into a folder. Raise `EnvironmentFault`."""


class TorchEngine:
    """The engine of `nuguna.engine`, on NVIDIA, Apple and plain processors alike."""

    def require(self, placement: Placement) -> None:
        """Raise `EnvironmentFault` where bitsandbytes is missing, or cannot work on this device."""
        require_quantization(placement.quantization, placement.device)

    def load(self, base: CheckedModel, placement: Placement) -> Loaded:
        """Return the base model with its shortcuts, each tried on the model itself."""
        loaded = load_base(
            base, dtype=placement.dtype, device=placement.device, quantization=placement.quantization
        )
        return replace(loaded, shortcuts=find_shortcuts(loaded.model))

    def attach(
        self, loaded: Loaded, method: Method, *, base_name: str, seed: int, gradient_checkpointing: bool
    ) -> Loaded:
        """Return the same model, ready to learn by `method`; the base itself is changed on the way, as peft
        does it.
        """
        model = method.attach(
            loaded.model, base_name=base_name, seed=seed, gradient_checkpointing=gradient_checkpointing
        )
        return replace(loaded, model=model)

    def stepper(
        self,
        tuned: Loaded,
        objective: Objective,
        *,
        learning_rate: float,
        weight_decay: float,
        max_grad_norm: float,
    ) -> Stepper:
        """Return a fused AdamW and the step that it takes."""
        rates = {"learning_rate": learning_rate, "weight_decay": weight_decay, "max_grad_norm": max_grad_norm}
        return Stepper(tuned.model, tuned.shortcuts, objective, **rates)

    def losses(
        self, loaded: Loaded, examples: Sequence[Encoded], batch_size: int, on_less: OnLess = ignore_less
    ) -> list[tuple[float, float]]:
        """Return (summed cross-entropy, number of trained tokens) of each example."""
        return heldout_losses(loaded, examples, batch_size, on_less)

    def answers(
        self,
        loaded: Loaded,
        asked: Sequence[Conversation],
        *,
        max_new_tokens: int,
        cache_bytes: int,
        on_less: OnLess,
    ) -> list[Answer]:
        """Return greedy answers, as many at once as have room."""
        return answer(
            loaded.model,
            loaded.tokenizer,
            [conversation.prompt for conversation in asked],
            tools=[conversation.tools for conversation in asked],
            eos_ids=loaded.eos_ids,
            max_new_tokens=max_new_tokens,
            cache_bytes=cache_bytes,
            on_less=on_less,
        )

    def save(self, tuned: Loaded, method: Method, folder: Path) -> None:
        """Write what the method keeps, with tokenizer and template."""
        method.save(tuned.model, tuned.tokenizer, folder)


TORCH: Engine = TorchEngine()


def engine_for(where: Placement | Loaded) -> Engine:
    """Return the engine that computes there."""
    return TORCH
