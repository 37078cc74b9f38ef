"""How a model learns: what is put into it, and what of it is saved. Another method (all weights, rsLoRA,
DoRA) is another row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..engine.causal_lm import CausalLM
from ..tokens.tokenizer_protocol import Tokenizer
from .adapter import attach_adapter, save_adapter


class Method(Protocol):
    """What the engine asks of a method; the parameters that require a gradient afterwards are those that are
    trained.
    """

    def attach(self, base: CausalLM, *, base_name: str, seed: int, gradient_checkpointing: bool) -> CausalLM:
        """Return the base, ready to learn; `base_name` is how others can load it."""

    def save(self, model: CausalLM, tokenizer: Tokenizer, folder: Path) -> None:
        """Write what was learned, whole or not at all. Raise `EnvironmentFault`."""


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on all linear layers of the blocks (Hu et al., arXiv 2106.09685), saved as a standard
    PEFT adapter.
    """

    rank: int
    alpha: float  # the adapter's output is scaled by alpha / rank

    def attach(self, base: CausalLM, *, base_name: str, seed: int, gradient_checkpointing: bool) -> CausalLM:
        """Return the base with a fresh adapter, which computes nothing yet."""
        return attach_adapter(
            base,
            base_name=base_name,
            lora_r=self.rank,
            lora_alpha=self.alpha,
            seed=seed,
            gradient_checkpointing=gradient_checkpointing,
        )

    def save(self, model: CausalLM, tokenizer: Tokenizer, folder: Path) -> None:
        """Write the adapter with the tokenizer and template that it was trained with."""
        save_adapter(model, tokenizer, folder)
