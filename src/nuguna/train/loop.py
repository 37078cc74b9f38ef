"""The only training loop. What varies comes in as arguments; progress leaves by a callback."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..engine.adapter import adapter_parameters
from ..engine.forward import Shortcuts
from ..engine.memory_watch import attempt, no_memory, watched
from ..engine.step import NUM_AHEAD, Outcome, make_optimizer, optimizer_step
from ..engine.step_limits import Limits
from ..engine.training import training_form
from ..errors import DivergedError, EnvironmentFault, Interrupted
from ..machine.stopping import Stop, StopNow, interrupted, stop_requests
from ..message import say
from ..tokens.batch import micro_batch_tokens, micro_batches, require_whole, step_indices
from ..tokens.encode import Encoded
from .checkpoint import Progress, Resumed, resume, save_checkpoint
from .save_schedule import MOST_SHARE, Keeper

MOST_BAD_STEPS = 3  # non-finite steps in a row before the run ends


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the loop needs to know, as plain values."""

    max_steps: int
    batch_size: int
    micro_batch_size: int  # examples of full length that may go through the model at once; more if they are shorter
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    seed: int
    checkpoint_every: int
    saving_share: float = MOST_SHARE  # of the time that may go into checkpoints


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step as it is told to the screen, the log and metrics.jsonl. `loss` is None for a skipped step."""

    step: int
    max_steps: int
    loss: float | None
    learning_rate: float
    tokens: int  # real tokens of this step, padding not counted
    tokens_per_second: float
    elapsed_seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Trained:
    """The whole training in numbers."""

    steps: int
    tokens: int
    seconds: float
    peak_memory_bytes: int
    skipped_steps: int
    last_loss: float


def learning_rate_at(step: int, recipe: Recipe) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero (Loshchilov & Hutter 2017); `step` counts from 0."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    through = (step - recipe.warmup_steps) / max(1, recipe.max_steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * through))


def train(
    model: Any,
    examples: Sequence[Encoded],
    recipe: Recipe,
    *,
    shortcuts: Shortcuts,
    folder: Path,
    mark: str,
    on_step: Callable[[Step], None],
    on_resume: Callable[[Resumed], None],
    on_stopping: Callable[[], None],
    memory_bytes: Callable[[], int],
    on_shortage: Callable[[Limits, int], None] = lambda limits, step: None,
    on_saved: Callable[[int], None] = lambda step: None,
    on_unsaved: Callable[[int, EnvironmentFault], None] = lambda last, error: None,
    made_on: Mapping[str, str] | None = None,
) -> Trained:
    """Train the adapter in place. Goes on from this plan's newest checkpoint in `folder`, if there is one.

    The loss of an optimizer step is the sum over its trained tokens divided by their number, whatever the micro-batch size.
    When memory runs out, the step is done again in smaller micro-batches, which changes speed and nothing else: `on_shortage` is
    told the new limits and the step. Raises `OutOfMemoryError` when nothing smaller is left, and `DivergedError` after three
    non-finite steps in a row. Ctrl-C and SIGTERM call `on_stopping`, drop the step in hand, leave a checkpoint of the last whole
    one and raise `Interrupted`; a second one ends the process. `on_saved` is told the step of each checkpoint, `on_unsaved` of
    one that could not be written the last step that is kept and why. `made_on` is written into them (`this_place`).
    """
    loop = _Loop(model, examples, recipe, shortcuts, folder, mark, _Watch(recipe, on_step, memory_bytes), made_on or {})
    if loop.resumed:
        on_resume(loop.resumed)
    loop.keeper = Keeper(recipe.checkpoint_every, loop.progress.step, loop.write, on_saved, on_unsaved, share=recipe.saving_share)
    for parameter in loop.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    model.train()
    with stop_requests() as stop:
        try:
            while loop.progress.step < recipe.max_steps:
                loop.run(stop)
                if loop.progress.step < recipe.max_steps:
                    on_shortage(loop.take_less(), loop.progress.step + 1)
        except StopNow:
            pass
        if stop.is_asked:
            on_stopping()
        loop.keep()
        if stop.is_asked:
            raise _stopped(loop.keeper.last_step, loop.progress.step, recipe.max_steps, stop)
    return loop.finish()


class _Loop:
    """Where the training stands, and the steps that move it on."""

    def __init__(
        self,
        model: Any,
        examples: Sequence[Encoded],
        recipe: Recipe,
        shortcuts: Shortcuts,
        folder: Path,
        mark: str,
        watch: _Watch,
        made_on: Mapping[str, str],
    ) -> None:
        self.model, self.examples, self.recipe, self.shortcuts = model, examples, recipe, shortcuts
        self.folder, self.mark, self.watch, self.made_on = folder, mark, watch, made_on
        self.accelerator = Accelerator(cpu=next(model.parameters()).device.type == "cpu")
        self.parameters = adapter_parameters(model)
        self.optimizer = make_optimizer(self.parameters, recipe.learning_rate, recipe.weight_decay)
        self.resumed = resume(folder, mark, self.parameters, self.optimizer)
        self.progress = self.resumed.progress if self.resumed else Progress(0, 0, 0.0)
        watch.go_on(self.progress)
        self.keeper: Keeper
        self.longest = micro_batch_tokens(examples, 1)
        most_tokens = micro_batch_tokens(examples, recipe.micro_batch_size)
        self.limits = Limits(**self.progress.limits) if self.progress.limits else Limits(most_tokens)
        # An accelerator works through a queue: the loss of a step is read when the next one stands in it, so that it never runs
        # dry.
        self.num_ahead = NUM_AHEAD[self.accelerator.device.type]

    def run(self, stop: Stop) -> None:
        """Step until the training is over, or memory runs out. Raises `StopNow` when an end is asked for."""
        with (
            self.limits.kept(self.model),
            training_form(self.model, self.shortcuts, self.limits.most_tokens),
            watched(self.model),
        ):
            while self.progress.step < self.recipe.max_steps and self._step(stop):
                pass

    def _step(self, stop: Stop) -> bool:
        """One optimizer step and what follows from it; False when memory ran out, and then nothing has changed."""
        recipe, began = self.recipe, time.perf_counter()
        step = self.progress.step
        chosen = [self.examples[i] for i in step_indices(len(self.examples), recipe.batch_size, recipe.seed, step)]
        outcome = attempt(lambda: self._compute(chosen, step, stop))
        if outcome is None:
            return False
        tokens, seconds = sum(len(e.ids) for e in chosen), time.perf_counter() - began
        done = self.progress
        self.progress = replace(done, step=done.step + 1, tokens=done.tokens + tokens, seconds=done.seconds + seconds)
        self.watch.queue.append(_Queued(self.progress, outcome, tokens, seconds))
        is_due = self.keeper.is_due(self.progress.step)
        self.watch.read(0 if is_due or self.progress.step == recipe.max_steps else self.num_ahead)
        if is_due and not self.watch.bad_in_a_row:
            self.keep()
        return True

    def _compute(self, chosen: Sequence[Encoded], step: int, stop: Stop) -> Outcome:
        device = self.accelerator.device
        batches = list(micro_batches(chosen, self.limits.most_tokens, device, packed=self.shortcuts.packed))
        require_whole(batches, chosen, self.recipe.batch_size)
        parts = (self.accelerator, self.model, self.parameters, self.optimizer)
        rate, norm = learning_rate_at(step, self.recipe), self.recipe.max_grad_norm
        return optimizer_step(*parts, batches, rate, norm, self.shortcuts, self.limits.chunk_bytes, stop)

    def keep(self) -> None:
        """See that the last whole step is kept."""
        self.watch.read(0)
        self.keeper.save(self.progress.step)

    def write(self) -> None:
        """Write a checkpoint. Raises `EnvironmentFault`."""
        _require_finite(self.parameters)
        progress = self.watch.noted(self.progress)
        save_checkpoint(self.folder, self.mark, progress, self.parameters, self.optimizer, self.made_on)

    def take_less(self) -> Limits:
        """Forget the half of a step that did not fit, and hold less at once from now on. Raises `OutOfMemoryError`."""
        self.optimizer.zero_grad(set_to_none=False)
        self.watch.read(0)
        less = self.limits.less(self.longest, can_checkpoint=self.model.supports_gradient_checkpointing)
        if less is None:
            self.keep()
            raise no_memory(
                say("Even one example of {length} tokens does not fit into memory.", length=f"{self.longest:,}"),
                say(
                    "Training reached step {step}; it is kept, and the same command goes on from there.", step=self.progress.step
                ),
            )
        self.limits = less
        self.progress = replace(self.progress, limits=vars(less))
        return less

    def finish(self) -> Trained:
        """The whole in numbers."""
        _require_finite(self.parameters)
        watch, progress = self.watch, self.progress
        return Trained(progress.step, progress.tokens, progress.seconds, watch.peak_bytes, watch.skipped, watch.loss)


@dataclass(frozen=True)
class _Queued:
    """A step whose outcome nobody has read yet; `progress` is what it reached."""

    progress: Progress
    outcome: Outcome
    tokens: int
    seconds: float


class _Watch:
    """Reads what steps found, tells it, and ends a run whose loss is no number any more."""

    def __init__(self, recipe: Recipe, on_step: Callable[[Step], None], memory_bytes: Callable[[], int]) -> None:
        self._recipe, self._on_step, self._memory_bytes = recipe, on_step, memory_bytes
        self.queue: list[_Queued] = []
        self.loss, self.bad_in_a_row, self.skipped, self.peak_bytes = math.nan, 0, 0, 0

    def go_on(self, progress: Progress) -> None:
        """Count on from a checkpoint."""
        self.loss = math.nan if progress.last_loss is None else progress.last_loss
        self.skipped, self.peak_bytes = progress.skipped, progress.peak_memory_bytes

    def noted(self, progress: Progress) -> Progress:
        """The progress with what was seen on the way."""
        last_loss = None if math.isnan(self.loss) else self.loss
        return replace(progress, skipped=self.skipped, last_loss=last_loss, peak_memory_bytes=self.peak_bytes)

    def read(self, num_left: int) -> None:
        """Read until `num_left` are left. Raises `DivergedError`."""
        while len(self.queue) > num_left:
            step = self.queue.pop(0)
            value, memory = step.outcome.read(), self._memory_bytes()
            self.peak_bytes = max(self.peak_bytes, memory)
            self._on_step(_told(step.progress, self._recipe, value, step.tokens, step.seconds, memory))
            self.loss, self.bad_in_a_row = (value, 0) if value is not None else (self.loss, self.bad_in_a_row + 1)
            self.skipped += value is None
            if self.bad_in_a_row >= MOST_BAD_STEPS:
                raise _diverged(self._recipe, step.progress.step)


def _told(progress: Progress, recipe: Recipe, loss: float | None, tokens: int, seconds: float, memory_bytes: int) -> Step:
    """The step that has just ended, in which `progress` was reached."""
    return Step(
        step=progress.step,
        max_steps=recipe.max_steps,
        loss=loss,
        learning_rate=learning_rate_at(progress.step - 1, recipe),
        tokens=tokens,
        tokens_per_second=tokens / seconds,
        elapsed_seconds=progress.seconds,
        memory_bytes=memory_bytes,
    )


def _stopped(kept: int, done: int, max_steps: int, stop: Stop) -> Interrupted:
    what = say("Stopped by you after step {step} of {total}. Nothing is lost.", step=done, total=max_steps)
    if kept < done:
        what = say("Stopped by you after step {step} of {total}; kept is step {kept}.", step=done, total=max_steps, kept=kept)
    return interrupted(stop.number, what, say("Start the same command again to go on from there."))


def _diverged(recipe: Recipe, step: int) -> DivergedError:
    return DivergedError(
        say("Training was stopped at step {step}: the loss is no longer a number.", step=step),
        seen=say(
            "{count} steps in a row were not finite; each was skipped, so the adapter is still whole.", count=MOST_BAD_STEPS
        ),
        fix=say("Start again with a lower learning rate: LEARNING_RATE={rate} ./run.sh", rate=f"{recipe.learning_rate / 4:.0e}"),
    )


def _require_finite(parameters: dict[str, torch.nn.Parameter]) -> None:
    """A non-finite adapter is never saved."""
    if not all(bool(torch.isfinite(p).all()) for p in parameters.values()):
        raise DivergedError(
            say("The adapter holds values that are not numbers, so it is not saved."),
            fix=say("Start again with a lower learning rate: LEARNING_RATE=0.0001 ./run.sh"),
        )
