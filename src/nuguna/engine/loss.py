"""The training loss: cross-entropy of trained tokens, summed; the caller normalises over the whole optimizer batch."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..data.batch import Batch
from .forward import Shortcuts, target_logits


def loss_sum(model: Any, batch: Batch, shortcuts: Shortcuts) -> Tensor:
    """Sum of the cross-entropies of all trained tokens of a micro-batch, a float32 scalar."""
    logits, labels = target_logits(model, batch, shortcuts)
    return cross_entropy(logits.float(), labels, reduction="sum")
