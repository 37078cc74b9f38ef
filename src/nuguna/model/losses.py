"""What a model loses on examples: the summed cross-entropies of each, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ..engine.attention import packed_attention
from ..engine.loss import document_losses
from ..engine.memory_watch import in_smaller_pieces, watched
from ..tokens.batch import Batch, by_length, micro_batch_tokens, micro_batches
from ..tokens.encode import Encoded
from .load import Loaded

T = TypeVar("T")
# told how many tokens or answers are at once in memory from now on, where it was short
OnLess = Callable[[int], None]


def ignore_less(size: int) -> None:
    """Tell nobody."""


def over_batches(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, one: Callable[[Batch], T], on_less: OnLess
) -> list[T]:
    """Return what `one` gives for each micro-batch of the examples, without gradients; in smaller ones where
    memory runs out.
    """
    device = next(loaded.model.parameters()).device

    @torch.no_grad()
    def all_of_them(most_tokens: int) -> list[T]:
        with packed_attention(loaded.model, loaded.shortcuts.packed), watched(loaded.model):
            return [
                one(batch)
                for batch in micro_batches(examples, most_tokens, device, packed=loaded.shortcuts.packed)
            ]

    loaded.model.eval()
    most, least = (micro_batch_tokens(examples, size) for size in (batch_size, 1))
    return in_smaller_pieces(all_of_them, most, least=least, on_less=on_less)


def heldout_losses(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, on_less: OnLess = ignore_less
) -> list[tuple[float, float]]:
    """Return (sum of the cross-entropies of its trained tokens, natural logarithm; how many these are) for
    each example.
    """

    def one(batch: Batch) -> torch.Tensor:
        return document_losses(loaded.model, batch, loaded.shortcuts).cpu()

    losses = torch.cat(over_batches(loaded, examples, batch_size, one, on_less)).tolist()
    order = by_length(examples)
    found = dict(zip(order, losses, strict=True))
    return [(found[i], float(example.num_trained)) for i, example in enumerate(examples)]
