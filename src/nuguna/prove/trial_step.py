"""A few small steps before the training, through the code that trains, compared with the plain model. Nothing
is left changed.

What goes wrong in training without a word shows here in numbers: a loss that is not the model's own, examples
that disturb each other, steps that move nothing, a broken step that is taken all the same
(docs/reliability.md).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..engine.adapter import adapter_parameters
from ..engine.causal_lm import CausalLM
from ..engine.quantized import is_quantized
from ..engine.sizes import LOGITS_BYTES
from ..engine.step import LOSS_SCALE, Outcome, Stepper
from ..engine.training import training_form
from ..machine.stopping import Stop
from ..message import Message, say
from ..model.adapter import reported_layers
from ..model.load import Loaded
from ..model.losses import heldout_losses
from ..tokens.batch import micro_batches
from ..tokens.encode import Encoded
from ..train.loop import Recipe, learning_rate_at
from ..train.objectives import SFT
from .check import Check

# Largest difference that comes from adding in another order, relative, of a mean loss and of the vector of
# all gradients. A neighbour that is seen, a mean over micro-batches or a label one place off are far above.
LOSS_ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.03, torch.float16: 0.01}
GRADIENT_ROUNDING = {torch.float32: 1e-2, torch.bfloat16: 0.25, torch.float16: 0.05}
QUANTIZED_ROUNDING = 0.1  # bitsandbytes' layers round their input too, a training step does not (docs/log.md)
# trained tokens of the two rows: uneven, so that a mean of means is another number
FEW_TRAINED, MORE_TRAINED = 3, 12
CONTEXT_TOKENS = 8  # before the first trained one
# standard deviation of what stands in the B's for the time being: a fresh adapter computes nothing
STIR = 0.02
# of the learning rate; AdamW's first step moves every weight by about all of it (arXiv 1412.6980, section
# 2.1)
MIN_MOVE = 0.1
FAULT = say(
    "Set it up again: ./setup_environment.sh. If that does not help, it is a bug in the program: please "
    "report it with the log file."
)


@dataclass(frozen=True)
class _Found:
    """What a step computed: the mean loss, and the gradients of all parameters as one vector on the CPU."""

    loss: float
    gradients: Tensor


class _Onlooker:
    """Takes the place of the optimizer: keeps the gradients and moves nothing."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self.param_groups: list[dict[str, Any]] = [{}]
        self.gradients = torch.empty(0)

    def step(self) -> None:
        """Keep them."""
        self.gradients = _gradients(self._parameters)

    def zero_grad(self, set_to_none: bool) -> None:
        """As an optimizer does."""
        for parameter in self._parameters.values():
            parameter.grad = torch.zeros_like(parameter)


class TrialStep:
    """Small steps on a model whose adapter holds random numbers for the time being."""

    def __init__(self, tuned: Loaded, rows: Sequence[Encoded], recipe: Recipe) -> None:
        self.tuned, self.model, self.rows, self.recipe = tuned, tuned.model, rows, recipe
        self.parameters = adapter_parameters(tuned.model)
        self.device = next(tuned.model.parameters()).device
        self.dtype = next(p.dtype for p in tuned.model.parameters() if p.dtype in LOSS_ROUNDING)
        self.is_quantized = any(is_quantized(module) for module in tuned.model.modules())

    def checks(self) -> Generator[Check, None, None]:
        """All of them, in the order of what they build on."""
        with _as_it_was(self.model, self.parameters):
            own, called = self._own()
            with training_form(self.model, self.tuned.shortcuts):
                self.model.train()
                apart, together = self._looked(most_tokens=1), self._looked(most_tokens=10**6)
                yield self._check_own(own, apart)
                yield self._check_together(apart, together)
                yield self._check_step(apart.gradients, called)
                yield self._check_bad_step()
            yield self._check_measured(own)

    def _own(self) -> tuple[_Found, frozenset[str]]:
        """Return loss and gradients of the model as its makers compute it, one row after the other, and which
        layers took part.
        """
        self.model.eval()
        num_trained, total = sum(row.num_trained for row in self.rows), 0.0
        with torch.enable_grad(), reported_layers(self.model) as called:
            for row in self.rows:
                ids = torch.tensor(row.ids, dtype=torch.int64, device=self.device)[None]  # (1, tokens)
                places = torch.tensor(np.flatnonzero(row.loss_mask), device=self.device)
                # (trained, vocabulary)
                logits = self.model(input_ids=ids, use_cache=False).logits[0, places - 1].float()
                loss = cross_entropy(logits, ids[0, places], reduction="sum")
                torch.autograd.backward(loss * (LOSS_SCALE / num_trained))
                total += float(loss.detach())
        gradients = _gradients(self.parameters) / LOSS_SCALE
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        return _Found(total / num_trained, gradients), frozenset(called)

    def _stepper(self, max_grad_norm: float) -> Stepper:
        """Return the same that trains, with an optimizer that has seen nothing."""
        recipe = self.recipe
        return Stepper(
            self.model,
            self.tuned.shortcuts,
            SFT,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            max_grad_norm=max_grad_norm,
        )

    def _step(self, stepper: Stepper, rows: Sequence[Encoded], most_tokens: int) -> Outcome:
        """Return one step as the training does it, at the peak of the learning rate."""
        batches = list(micro_batches(rows, most_tokens, self.device, packed=self.tuned.shortcuts.packed))
        return stepper.step(batches, learning_rate_at(_peak(self.recipe), self.recipe), LOGITS_BYTES, Stop())

    def _looked(self, most_tokens: int) -> _Found:
        stepper = self._stepper(max_grad_norm=math.inf)
        stepper.optimizer = onlooker = _Onlooker(self.parameters)
        outcome = self._step(stepper, self.rows, most_tokens)
        return _Found(float(outcome.loss), onlooker.gradients)

    def _check_own(self, own: _Found, found: _Found) -> Check:
        """The loss that is trained is the cross-entropy of the trained tokens, each predicted from the one
        before it.
        """
        rounding = QUANTIZED_ROUNDING if self.is_quantized else LOSS_ROUNDING[self.dtype]
        same = _near(own.loss, found.loss, rounding)
        if same and not self.is_quantized:
            same = _apart(own.gradients, found.gradients) <= GRADIENT_ROUNDING[self.dtype]
        return Check("own_loss", same, _compared(own, found), FAULT)

    def _check_together(self, apart: _Found, together: _Found) -> Check:
        """Examples of different lengths give the same loss and gradients together as one by one."""
        same = _near(apart.loss, together.loss, LOSS_ROUNDING[self.dtype])
        same = same and _apart(apart.gradients, together.gradients) <= GRADIENT_ROUNDING[self.dtype]
        return Check("together_as_alone", same, _compared(apart, together), FAULT)

    def _check_measured(self, own: _Found) -> Check:
        """What is measured is the same loss, summed over the same tokens."""
        sums = heldout_losses(self.tuned, self.rows, len(self.rows))
        mean = sum(loss for loss, _ in sums) / sum(count for _, count in sums)
        rounding = QUANTIZED_ROUNDING if self.is_quantized else LOSS_ROUNDING[self.dtype]
        seen = say("loss {a} and {b}", a=f"{own.loss:.6f}", b=f"{mean:.6f}")
        return Check("measured_as_trained", _near(own.loss, mean, rounding), seen, FAULT)

    def _check_step(self, gradients: Tensor, called: frozenset[str]) -> Check:
        """A step moves every matrix of every layer that takes part, and nothing that is frozen belongs to the
        optimizer.
        """
        stepper = self._stepper(self.recipe.max_grad_norm)
        moved_by_it = {id(p) for group in stepper.optimizer.param_groups for p in group["params"]}
        before = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._step(stepper, self.rows, 10**6)
        least = MIN_MOVE * learning_rate_at(_peak(self.recipe), self.recipe)
        still = []
        for (name, parameter), gradient in zip(
            self.parameters.items(),
            torch.split(gradients, [p.numel() for p in self.parameters.values()]),
            strict=True,
        ):
            takes_part = name.partition(".lora_")[0] in called and (
                self._sees_more_than_one() or bool(gradient.any())
            )
            if takes_part and not float((parameter.detach() - before[name]).abs().max()) >= least > 0:
                still.append(name)
            with torch.no_grad():
                parameter.copy_(before[name])
        is_all = moved_by_it == {id(p) for p in self.parameters.values()}
        seen = say("{count} of {total} matrices do not change", count=len(still), total=len(before))
        return Check("step_moves", not still and is_all and bool(called), seen, FAULT)

    def _sees_more_than_one(self) -> bool:
        """Return whether some trained token is predicted with a choice where to look; else queries and keys
        learn nothing.
        """
        return any(row.loss_mask[2:].any() for row in self.rows)

    def _check_bad_step(self) -> Check:
        """A step whose loss is no number is told as such and changes nothing."""
        stepper = self._stepper(self.recipe.max_grad_norm)
        first = next(iter(self.parameters.values()))
        before = [parameter.detach().clone() for parameter in self.parameters.values()]
        with torch.no_grad():
            first.view(-1)[0] = math.nan
        outcome = self._step(stepper, self.rows[:1], 10**6)
        with torch.no_grad():
            first.view(-1)[0] = before[0].view(-1)[0]
        same = all(
            torch.equal(old, new.detach()) for old, new in zip(before, self.parameters.values(), strict=True)
        )
        told = outcome.read()
        seen = say("the loss is reported as {loss}", loss=told) if same else say("the adapter changed anyway")
        return Check("bad_step_skipped", same and told is None, seen, FAULT)


def trial_rows(examples: Sequence[Encoded]) -> list[Encoded]:
    """Two short pieces of real examples with uneven numbers of trained tokens."""
    ordered = sorted(examples, key=lambda example: example.num_trained)
    most = ordered[-1].num_trained
    return [_piece(ordered[0], max(1, min(FEW_TRAINED, most // 2))), _piece(ordered[-1], MORE_TRAINED)]


def _piece(example: Encoded, num_trained: int) -> Encoded:
    """Return the end of an example: its last trained tokens, the one that ends the answer among them, and a
    little before them.
    """
    trained = np.flatnonzero(example.loss_mask)
    stop = int(trained[-1]) + 1
    places = trained[trained >= max(1, stop - 2 * MORE_TRAINED)][-num_trained:]
    begin = max(0, int(places[0]) - CONTEXT_TOKENS)
    return Encoded(example.ids[begin:stop], np.isin(np.arange(begin, stop), places))


@contextmanager
def _as_it_was(model: CausalLM, parameters: dict[str, torch.nn.Parameter]) -> Iterator[None]:
    """While the block runs, every parameter has a gradient of zeros and each B random numbers; afterwards all
    is as before.
    """
    was_training = model.training
    random = torch.Generator().manual_seed(0)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for name, parameter in parameters.items():
                parameter.grad = torch.zeros_like(parameter)
                if "lora_B" in name:
                    parameter.copy_(STIR * torch.randn(parameter.shape, generator=random))
            with torch.enable_grad():
                yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
                parameter.grad = None
        model.train(was_training)


def _gradients(parameters: dict[str, torch.nn.Parameter]) -> Tensor:
    """Return all gradients, one after the other; zeros where there is none."""
    found = (torch.zeros_like(p) if p.grad is None else p.grad for p in parameters.values())
    return torch.cat([gradient.detach().float().flatten().cpu() for gradient in found])


def _peak(recipe: Recipe) -> int:
    """Return the step with the highest learning rate."""
    return min(recipe.warmup_steps, recipe.max_steps - 1)


def _near(a: float, b: float, rounding: float) -> bool:
    return abs(a - b) <= rounding * abs(a)  # never for what is not a number


def _apart(a: Tensor, b: Tensor) -> float:
    """Return how far two vectors are from each other, as a share of the first."""
    return float((a - b).norm() / a.norm())


def _compared(a: _Found, b: _Found) -> Message:
    return say(
        "loss {a} and {b}, size of the gradients {c} and {d}, {share} % apart",
        a=f"{a.loss:.6f}",
        b=f"{b.loss:.6f}",
        c=f"{float(a.gradients.norm()):.4g}",
        d=f"{float(b.gradients.norm()):.4g}",
        share=f"{100 * _apart(a.gradients, b.gradients):.2g}",
    )
