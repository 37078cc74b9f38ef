"""The training loss: cross-entropy of trained tokens, summed; the caller normalises over the whole optimizer
batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import cross_entropy

from ..machine.device_profile import DEVICE_PROFILES
from ..tokens.batch import Batch
from .causal_lm import CausalLM
from .forward import Shortcuts, head, target_hidden, target_logits
from .sizes import LOGITS_BYTES


def loss_sum(model: CausalLM, batch: Batch, shortcuts: Shortcuts, chunk_bytes: int = LOGITS_BYTES) -> Tensor:
    """Sum of the cross-entropies of all trained tokens of a micro-batch, a float32 scalar."""
    output = head(model)
    if not shortcuts.split_head or type(output) is not nn.Linear or output.weight.requires_grad:
        logits, labels = target_logits(model, batch, shortcuts)
        return cross_entropy(logits.float(), labels, reduction="sum")
    hidden, labels = target_hidden(model, batch, shortcuts)
    return chunked_loss(hidden, output.weight, output.bias, labels, chunk_bytes)


def document_losses(model: CausalLM, batch: Batch, shortcuts: Shortcuts) -> Tensor:
    """Return the sum of the cross-entropies of each document's trained tokens, (documents,) in float32.

    Measuring calls it without gradients; an objective that weighs documents against each other, with them.
    """
    ends = torch.tensor(batch.lengths).cumsum(0) + batch.prefix
    # (documents,): how many of the trained tokens each has; the places ascend
    counts = (
        torch.searchsorted(batch.trained.cpu(), ends).diff(prepend=torch.zeros(1, dtype=torch.long)).tolist()
    )
    output = head(model)
    if not shortcuts.split_head or type(output) is not nn.Linear or output.weight.requires_grad:
        logits, labels = target_logits(model, batch, shortcuts)
        losses = [
            cross_entropy(few.float(), wanted, reduction="sum")
            for few, wanted in _by_document(logits, labels, counts)
        ]
    else:
        hidden, labels = target_hidden(model, batch, shortcuts)
        losses = [
            chunked_loss(few, output.weight, output.bias, wanted)
            for few, wanted in _by_document(hidden, labels, counts)
        ]
    return torch.stack(losses)


def _by_document(values: Tensor, labels: Tensor, counts: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(values, counts), torch.split(labels, counts), strict=True)


def chunked_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk_bytes: int = LOGITS_BYTES
) -> Tensor:
    """Cross-entropy, summed, of the frozen head's logits: hidden (tokens, width), weight (vocabulary, width),
    labels (tokens,).

    The gradient is made in the same pass that makes the logits, and written over them: two matrix products in
    all, nothing computed again, and no more than a chunk of logits in memory (Liger Kernel, arXiv 2410.10989,
    section 3.2; a frozen head needs no third product).
    """
    return _ChunkedLoss.apply(hidden, weight, bias, labels, chunk_bytes)  # type: ignore[no-untyped-call, no-any-return]


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        chunk_bytes: int,
    ) -> Tensor:
        needs_gradient = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        gradient = torch.empty_like(hidden) if needs_gradient else None
        rows = _rows(chunk_bytes, hidden.dtype.itemsize, hidden, weight)
        # used again by every chunk, so that no more than one of each is ever there
        all_logits = torch.empty(rows, weight.shape[0], dtype=hidden.dtype, device=hidden.device)
        at_once = min(rows, _rows(DEVICE_PROFILES[hidden.device.type].softmax_bytes, 4, hidden, weight))
        all_probabilities = torch.empty(at_once, weight.shape[0], dtype=torch.float32, device=hidden.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for part, wanted, slot in _parts(rows, hidden, labels, gradient):
            logits = torch.mm(part, weight.t(), out=all_logits[: len(part)])
            if bias is not None:
                logits += bias
            for few, few_wanted in zip(
                torch.split(logits, at_once), torch.split(wanted, at_once), strict=True
            ):
                total += _softmax(
                    few, few_wanted, all_probabilities[: len(few)], gives_gradient=needs_gradient
                )
            if slot is not None:
                torch.mm(logits, weight, out=slot)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * d_total.to(gradient.dtype), None, None, None, None


def _rows(num_bytes: int, itemsize: int, hidden: Tensor, weight: Tensor) -> int:
    """Return how many rows of the vocabulary's width that many bytes hold: at least one, and not more than
    there are.
    """
    return min(len(hidden), max(1, num_bytes // (itemsize * weight.shape[0])))


def _parts(
    rows: int, hidden: Tensor, labels: Tensor, gradient: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Chunks of hidden, their labels (rows, 1), and where their gradient goes."""
    slots = [None] * math.ceil(len(hidden) / rows) if gradient is None else torch.split(gradient, rows)
    return zip(torch.split(hidden, rows), torch.split(labels[:, None], rows), slots, strict=True)


def _softmax(logits: Tensor, wanted: Tensor, probabilities: Tensor, *, gives_gradient: bool) -> Tensor:
    """Return the sum of the cross-entropies of `wanted` (rows, 1), for logits (rows, vocabulary);
    `probabilities` (alike, float32) is used up.

    With `gives_gradient`, their gradient is written over the logits. The largest probability is 1 / Σ
    exp(logit - largest logit), and at least 1 / vocabulary: its logarithm gives the normaliser without a pass
    of its own.
    """
    torch.softmax(logits, 1, dtype=torch.float32, out=probabilities)
    normaliser = logits.amax(1, keepdim=True).float() - probabilities.amax(1, keepdim=True).log()
    loss = (normaliser - logits.gather(1, wanted).float()).sum()
    if gives_gradient:
        probabilities.scatter_add_(1, wanted, probabilities.new_full((), -1.0).expand_as(wanted))
        logits.copy_(probabilities)
    return loss
