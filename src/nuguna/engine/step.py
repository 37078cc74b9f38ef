"""One optimizer step: micro-batches through the model, gradients, the limit on their norm, AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..machine.stopping import Stop
from ..tokens.batch import Batch
from .forward import Shortcuts
from .loss import loss_sum

# float16 has no number below 6e-8, where many gradients of a mean over hundreds of tokens lie. Times 1,024 they are about as
# large as those of a sum (Micikevicius et al., Mixed Precision Training, arXiv 1710.03740, section 3.2); what overflows all the
# same is not finite, and its step is skipped aloud.
LOSS_SCALE = 1024.0
NUM_AHEAD = {"cpu": 0, "mps": 1, "cuda": 1}  # steps whose loss may wait to be read


@dataclass(frozen=True)
class Outcome:
    """What a step found, still on its device: reading it waits until the step is done."""

    loss: Tensor  # mean over all trained tokens
    is_finite: Tensor  # whether loss and gradients are numbers; if not, the step has changed nothing

    def read(self) -> float | None:
        """The loss, None for a step that was skipped."""
        loss, is_finite = torch.stack([self.loss, self.is_finite.float()]).tolist()
        return float(loss) if is_finite else None


def make_optimizer(parameters: dict[str, torch.nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the adapter, fused, so that it can be told to leave a step out (`optimizer_step`)."""
    return torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True)


def optimizer_step(
    accelerator: Any,
    model: Any,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    learning_rate: float,
    max_grad_norm: float,
    shortcuts: Shortcuts,
    chunk_bytes: int,
    stop: Stop,
) -> Outcome:
    """One step over all micro-batches. A step that is not finite changes nothing; that is decided where it is computed.

    Until the gradients are whole it can be dropped.
    """
    num_trained = max(1, sum(len(batch.trained) for batch in batches))
    total = torch.zeros((), device=accelerator.device)
    scale = LOSS_SCALE if next(model.parameters()).dtype == torch.float16 else 1.0
    with stop.droppable():
        for batch in batches:
            loss = loss_sum(model, batch, shortcuts, chunk_bytes)
            accelerator.backward(loss * (scale / num_trained))
            total += loss.detach()
            del loss  # its graph would lie between the pieces of memory that the next micro-batch needs
    if scale != 1.0:
        torch._foreach_mul_([p.grad for p in parameters.values() if p.grad is not None], 1 / scale)
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_grad_norm)
    mean = total / num_trained
    is_finite = mean.isfinite() & norm.isfinite()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    # how torch's own GradScaler tells the fused AdamW to leave everything as it is
    optimizer.found_inf = (~is_finite).float()  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)  # they keep their places in memory, and leave the rest whole
    return Outcome(mean, is_finite)
