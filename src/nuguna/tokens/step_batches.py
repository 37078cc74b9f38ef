"""The micro-batches of each optimizer step: what the training loop asks its data for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from .batch import Batch, micro_batch_tokens, micro_batches, require_whole, step_indices
from .encode import Encoded


class Batches(Protocol):
    """Where a step's micro-batches come from. Each is a function of the step alone, so that a run can go on
    anywhere.
    """

    def of_step(self, step: int, max_tokens: int) -> list[Batch]:
        """Return the micro-batches of optimizer step `step` (from 0), each of at most `max_tokens` tokens or
        one example.
        """

    def max_tokens(self, num_examples: int) -> int:
        """Return the tokens of `num_examples` of the longest examples together."""


@dataclass(frozen=True)
class StepBatches:
    """Examples in an order that depends on seed and epoch alone, `batch_size` of them a step.

    `packed`: documents lie end to end, so that nothing is padded (`Shortcuts.packed`).
    """

    examples: Sequence[Encoded]
    batch_size: int
    seed: int
    device: torch.device | str
    packed: bool

    def of_step(self, step: int, max_tokens: int) -> list[Batch]:
        """Return the micro-batches of a step. Raise `UnsoundError` if an example or a trained token was lost
        on the way.
        """
        indices = step_indices(len(self.examples), self.batch_size, self.seed, step)
        chosen = [self.examples[i] for i in indices]
        made = list(micro_batches(chosen, max_tokens, self.device, packed=self.packed))
        require_whole(made, chosen, self.batch_size)
        return made

    def max_tokens(self, num_examples: int) -> int:
        """Return the tokens of so many of the longest examples, for which the plan has memory."""
        return micro_batch_tokens(self.examples, num_examples)
