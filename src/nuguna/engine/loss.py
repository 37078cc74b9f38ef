"""The training loss: cross-entropy of trained tokens, summed; the caller normalises over the whole optimizer batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import cross_entropy

from ..data.batch import Batch
from .forward import Shortcuts, head, target_hidden, target_logits

# Of float32 logits at once. Each chunk reads the whole head: 8 MiB made the loss half as slow again as 64 (docs/log.md).
CHUNK_BYTES = 64 * 2**20


def loss_sum(model: Any, batch: Batch, shortcuts: Shortcuts) -> Tensor:
    """Sum of the cross-entropies of all trained tokens of a micro-batch, a float32 scalar."""
    output = head(model)
    if not shortcuts.split_head or type(output) is not nn.Linear or output.weight.requires_grad:
        logits, labels = target_logits(model, batch, shortcuts)
        return cross_entropy(logits.float(), labels, reduction="sum")
    hidden, labels = target_hidden(model, batch, shortcuts)
    return chunked_loss(hidden, output.weight, output.bias, labels)


def chunked_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Cross-entropy, summed, of the frozen head's logits: hidden (tokens, width), weight (vocabulary, width), labels (tokens,).

    The gradient is made in the same pass that makes the logits, and written over them: two matrix products in all, nothing
    computed again, and no more than a chunk of logits in memory (Liger Kernel, arXiv 2410.10989, section 3.2; a frozen head needs
    no third product).
    """
    return _ChunkedLoss.apply(hidden, weight, bias, labels)  # type: ignore[no-untyped-call, no-any-return]


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        gradient = torch.empty_like(hidden) if needs_gradient else None
        rows = min(len(hidden), max(1, CHUNK_BYTES // (4 * weight.shape[0])))
        # used again by every chunk, so that no more than one of each is ever there
        all_logits = torch.empty(rows, weight.shape[0], dtype=hidden.dtype, device=hidden.device)
        all_chances = torch.empty(rows, weight.shape[0], dtype=torch.float32, device=hidden.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part, wanted = hidden[start : start + rows], labels[start : start + rows, None]
            logits, chances = all_logits[: len(part)], all_chances[: len(part)]
            torch.mm(part, weight.t(), out=logits)
            if bias is not None:
                logits += bias
            total += _softmax(logits, wanted, chances).sum()
            if gradient is not None:
                chances.scatter_add_(1, wanted, chances.new_full((), -1.0).expand_as(wanted))
                torch.mm(logits.copy_(chances), weight, out=gradient[start : start + rows])
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * d_total.to(gradient.dtype), None, None, None


def _softmax(logits: Tensor, wanted: Tensor, chances: Tensor) -> Tensor:
    """Write the softmax of logits (rows, vocabulary) into `chances`, float32; returns the cross-entropies (rows, 1) of `wanted`.

    The largest probability is 1 / Σ exp(logit - largest logit), and at least 1 / vocabulary: its logarithm gives the normaliser
    without a pass of its own.
    """
    torch.softmax(logits, 1, dtype=torch.float32, out=chances)
    normaliser = logits.amax(1, keepdim=True).float() - chances.amax(1, keepdim=True).log()
    return normaliser - logits.gather(1, wanted).float()
