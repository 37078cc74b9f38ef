"""One optimizer step, from micro-batches to moved weights. The training loop and the trial before it take the
same step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..machine.stopping import Stop
from ..tokens.batch import Batch
from ..tokens.encoded import Encoded
from ..tokens.step_batches import Batches, StepBatches
from .adapter import adapter_parameters
from .causal_lm import CausalLM
from .forward import Shortcuts

# float16 has no number below 6e-8, where many gradients of a mean over hundreds of tokens lie. Times 1,024
# they are about as large as those of a sum (Micikevicius et al., Mixed Precision Training, arXiv 1710.03740,
# section 3.2); what overflows all the same is not finite, and its step is skipped aloud.
LOSS_SCALE = 1024.0


@dataclass(frozen=True)
class Objective:
    """What a training minimises: the mean of a loss over its terms, such as the cross-entropy over the
    trained tokens.

    The terms of all micro-batches are counted before the first of them goes through the model: each gradient
    is then divided by the count of the whole step as it is made, so a step is the same however it is cut into
    micro-batches.
    """

    name: str
    # (model, micro-batch, what may be left out, bytes of logits at once) -> the summed loss, a float32 scalar
    loss_sum: Callable[[CausalLM, Batch, Shortcuts, int], Tensor]
    num_terms: Callable[[Batch], int]
    # (examples, batch size, seed, device, whether they are packed) -> the micro-batches of each step
    batches: Callable[[Sequence[Encoded], int, int, torch.device, bool], Batches] = StepBatches


@dataclass(frozen=True)
class Outcome:
    """What a step found, still on its device: reading it waits until the step is done."""

    loss: Tensor  # mean over all terms
    is_finite: Tensor  # whether loss and gradients are numbers; if not, the step has changed nothing
    num_tokens: int  # that went through the model, padding not counted

    def read(self) -> float | None:
        """Return the loss, None for a step that was skipped."""
        loss, is_finite = torch.stack([self.loss, self.is_finite.float()]).tolist()
        return float(loss) if is_finite else None


class Stepper:
    """A model in training: the parameters that move, their optimizer, and the step that moves them."""

    def __init__(
        self,
        model: CausalLM,
        shortcuts: Shortcuts,
        objective: Objective,
        *,
        learning_rate: float,
        weight_decay: float,
        max_grad_norm: float,
    ) -> None:
        self.model, self.shortcuts, self.objective, self.max_grad_norm = (
            model,
            shortcuts,
            objective,
            max_grad_norm,
        )
        self.accelerator = Accelerator(cpu=next(model.parameters()).device.type == "cpu")
        self.parameters = adapter_parameters(model)
        # fused, so that it can be told to leave a step out
        self.optimizer: Any = torch.optim.AdamW(
            self.parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self.loss_scale = LOSS_SCALE if next(model.parameters()).dtype == torch.float16 else 1.0

    def make_gradients(self) -> None:
        """Give every parameter a gradient of zeros, which keeps its place in memory from then on."""
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)

    def forget_gradients(self) -> None:
        """Drop what a step had gathered before it was given up."""
        self.optimizer.zero_grad(set_to_none=False)

    def step(self, batches: Sequence[Batch], learning_rate: float, chunk_bytes: int, stop: Stop) -> Outcome:
        """Take one step over all micro-batches. `chunk_bytes`: of logits at once.

        A step that is not finite changes nothing; that is decided on the device, so nobody waits for it.
        Until the gradients are whole a request to end drops the step (`stop`).
        """
        num_terms = max(1, sum(self.objective.num_terms(batch) for batch in batches))
        total = torch.zeros((), device=self.accelerator.device)
        with stop.droppable():
            for batch in batches:
                loss = self.objective.loss_sum(self.model, batch, self.shortcuts, chunk_bytes)
                self.accelerator.backward(loss * (self.loss_scale / num_terms))
                total += loss.detach()
                del loss  # its graph would lie between the pieces of memory that the next micro-batch needs
        if self.loss_scale != 1.0:
            torch._foreach_mul_(
                [p.grad for p in self.parameters.values() if p.grad is not None], 1 / self.loss_scale
            )
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)
        mean = total / num_terms
        is_finite = mean.isfinite() & norm.isfinite()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        # how torch's own GradScaler tells the fused AdamW to leave everything as it is
        self.optimizer.found_inf = (~is_finite).float()
        self.optimizer.step()
        # they keep their places in memory, and leave the rest whole
        self.optimizer.zero_grad(set_to_none=False)
        return Outcome(mean, is_finite, sum(batch.num_tokens for batch in batches))
