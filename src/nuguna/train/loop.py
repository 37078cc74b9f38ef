"""The only training loop: `train` reads from top to bottom. What varies comes in: model, batches, objective,
listener.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from ..engine.memory_watch import attempt, no_memory, watched
from ..engine.step import Objective, Outcome, Stepper
from ..engine.step_limits import Limits
from ..engine.training import training_form
from ..errors import DivergedError, EnvironmentFault, Interrupted
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.probe import memory_in_use
from ..machine.stopping import Stop, StopNow, interrupted, stop_requests
from ..message import say
from ..model.engine import engine_for
from ..model.load import Loaded
from ..tokens.step_batches import Batches
from .checkpoint import Progress, Resumed, resume, save_checkpoint
from .save_schedule import MAX_SHARE, SaveSchedule

MAX_BAD_STEPS = 3  # non-finite steps in a row before the run ends


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the loop needs to know, as plain values."""

    max_steps: int
    batch_size: int
    # examples of full length that may go through the model at once; more if they are shorter
    micro_batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_grad_norm: float
    seed: int
    checkpoint_every: int
    saving_share: float = MAX_SHARE  # of the time that may go into checkpoints


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimizer step as the screen, the log and metrics.jsonl show it. `loss` is None for a skipped
    step.
    """

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
    """Return the rate of a step (from 0): a linear warm-up, then half a cosine to zero (Loshchilov & Hutter
    2017).
    """
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    through = (step - recipe.warmup_steps) / max(1, recipe.max_steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * through))


class Listener(Protocol):
    """Who hears what happens in a training. `Silent` is one that does nothing."""

    def on_resumed(self, resumed: Resumed) -> None:
        """It goes on from a checkpoint."""

    def on_step(self, step: Step) -> None:
        """A step is done and its loss is known, on an accelerator a step later."""

    def on_shortage(self, limits: Limits, step: int) -> None:
        """Memory ran out at `step`, which is done again within these limits."""

    def on_saved(self, step: int) -> None:
        """The checkpoint of `step` is on the disk."""

    def on_unsaved(self, last_step: int, error: EnvironmentFault) -> None:
        """A checkpoint could not be written; `last_step` is the last one that was (0: none)."""

    def on_stopping(self) -> None:
        """An end was asked for (Ctrl-C, SIGTERM), and what was reached is being kept."""


class Silent:
    """A listener to whom nothing matters."""

    def on_resumed(self, resumed: Resumed) -> None:
        """Do nothing, like all the others."""

    def on_step(self, step: Step) -> None: ...  # noqa: D102
    def on_shortage(self, limits: Limits, step: int) -> None: ...  # noqa: D102
    def on_saved(self, step: int) -> None: ...  # noqa: D102
    def on_unsaved(self, last_step: int, error: EnvironmentFault) -> None: ...  # noqa: D102
    def on_stopping(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Keep:
    """Where checkpoints go, whose they are, and what the numbers in them may depend on beside the plan."""

    folder: Path  # of the run
    plan_hash: str  # another plan's checkpoints are not continued
    made_on: Mapping[str, str] = field(default_factory=dict)  # `repeatable.this_place`


def train(
    tuned: Loaded, batches: Batches, objective: Objective, recipe: Recipe, keep: Keep, listener: Listener
) -> Trained:
    """Train the adapter in place, going on from this plan's newest checkpoint if there is one. Return the
    totals.

    When memory runs out, the step is done again in smaller micro-batches, which changes speed and nothing
    else. Raises `OutOfMemoryError` when nothing smaller is left, and `DivergedError` after three non-finite
    steps in a row. Ctrl-C and SIGTERM drop the step in hand, leave a checkpoint of the last whole one and
    raise `Interrupted`; a second one ends the process.
    """
    model = tuned.model
    rates = {"learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    stepper = engine_for(tuned).stepper(tuned, objective, **rates, max_grad_norm=recipe.max_grad_norm)
    resumed = resume(keep.folder, keep.plan_hash, stepper.parameters, stepper.optimizer)
    if resumed:
        listener.on_resumed(resumed)
    record = _Record(recipe, listener, stepper, resumed.progress if resumed else Progress(0, 0, 0.0))
    saves = _Saves(recipe, keep, listener, stepper, record)
    limits = record.limits or Limits(batches.max_tokens(recipe.micro_batch_size))
    stepper.make_gradients()
    model.train()
    with stop_requests() as stop:

        def take_step() -> Outcome:
            micro_batches = batches.of_step(record.step, limits.most_tokens)
            return stepper.step(
                micro_batches, learning_rate_at(record.step, recipe), limits.chunk_bytes, stop
            )

        with suppress(StopNow):
            while record.step < recipe.max_steps:
                # within these limits until the end, or until memory runs out
                with (
                    limits.kept(model),
                    training_form(model, tuned.shortcuts, limits.most_tokens),
                    watched(model),
                ):
                    while record.step < recipe.max_steps:
                        began = time.perf_counter()
                        outcome = attempt(take_step)
                        if outcome is None:
                            break  # memory ran out, and nothing has changed
                        record.add(outcome, time.perf_counter() - began)
                        saves.after_step()
                if record.step < recipe.max_steps:
                    limits = _less(limits, stepper, batches, record, saves)
                    listener.on_shortage(limits, record.step + 1)
        if stop.is_asked:
            listener.on_stopping()
        saves.save()
        if stop.is_asked:
            raise _stopped(saves.last_step, record.step, recipe.max_steps, stop)
    _require_finite(stepper)
    return record.totals()


def _less(limits: Limits, stepper: Stepper, batches: Batches, record: _Record, saves: _Saves) -> Limits:
    """Forget the half of a step that did not fit, and hold less at once from now on. Raises
    `OutOfMemoryError`.
    """
    stepper.forget_gradients()
    record.read(0)
    longest = batches.max_tokens(1)
    less = limits.less(longest, can_checkpoint=stepper.model.supports_gradient_checkpointing)
    if less is None:
        saves.save()
        raise no_memory(
            say("Even one example of {length} tokens does not fit into memory.", length=f"{longest:,}"),
            say(
                "Training reached step {step}; it is saved, and the same command continues from there.",
                step=record.step,
            ),
        )
    record.limits = less
    return less


@dataclass(frozen=True)
class _Unread:
    """A step whose outcome nobody has read yet, and what was reached with it."""

    step: int
    outcome: Outcome
    seconds: float
    elapsed_seconds: float


class _Record:
    """What a training has reached, and what its steps found: read, reported, and summed up.

    An accelerator works through a queue: the loss of a step is read when the next one stands in it, so that
    it never runs dry.
    """

    def __init__(self, recipe: Recipe, listener: Listener, stepper: Stepper, reached: Progress) -> None:
        self._recipe, self._listener = recipe, listener
        self._device = stepper.accelerator.device.type
        self._unread: list[_Unread] = []
        self.step, self._tokens, self._seconds = reached.step, reached.tokens, reached.seconds
        # where memory allowed less than was planned
        self.limits = Limits(**reached.limits) if reached.limits else None
        self._loss = math.nan if reached.last_loss is None else reached.last_loss
        self._skipped, self._peak_bytes, self.bad_in_a_row = reached.skipped, reached.peak_memory_bytes, 0

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Count one more step."""
        self.step, self._tokens, self._seconds = (
            self.step + 1,
            self._tokens + outcome.num_tokens,
            self._seconds + seconds,
        )
        self._unread.append(_Unread(self.step, outcome, seconds, self._seconds))

    def read(self, num_left: int | None = None) -> None:
        """Read what steps found until `num_left` are left, as many as the device likes best. Raises
        `DivergedError`.
        """
        left = DEVICE_PROFILES[self._device].num_ahead if num_left is None else num_left
        while len(self._unread) > left:
            done = self._unread.pop(0)
            loss, memory = done.outcome.read(), memory_in_use(self._device)
            self._peak_bytes = max(self._peak_bytes, memory)
            self._listener.on_step(self._reported(done, loss, memory))
            self._loss, self.bad_in_a_row = (
                (loss, 0) if loss is not None else (self._loss, self.bad_in_a_row + 1)
            )
            self._skipped += loss is None
            if self.bad_in_a_row >= MAX_BAD_STEPS:
                raise _diverged(self._recipe, done.step)

    def _reported(self, done: _Unread, loss: float | None, memory_bytes: int) -> Step:
        return Step(
            step=done.step,
            max_steps=self._recipe.max_steps,
            loss=loss,
            learning_rate=learning_rate_at(done.step - 1, self._recipe),
            tokens=done.outcome.num_tokens,
            tokens_per_second=done.outcome.num_tokens / done.seconds,
            elapsed_seconds=done.elapsed_seconds,
            memory_bytes=memory_bytes,
        )

    def progress(self) -> Progress:
        """Return what a checkpoint has to know; everything must have been read."""
        limits = None if self.limits is None else vars(self.limits)
        loss = None if math.isnan(self._loss) else self._loss
        return Progress(self.step, self._tokens, self._seconds, limits, self._skipped, loss, self._peak_bytes)

    def totals(self) -> Trained:
        """Return the whole in numbers."""
        return Trained(self.step, self._tokens, self._seconds, self._peak_bytes, self._skipped, self._loss)


class _Saves:
    """Keeps checkpoints of a training, when it is time to."""

    def __init__(
        self, recipe: Recipe, keep: Keep, listener: Listener, stepper: Stepper, record: _Record
    ) -> None:
        self._keep, self._stepper, self._record, self._is_last = keep, stepper, record, recipe.max_steps
        self._schedule = SaveSchedule(
            recipe.checkpoint_every,
            record.step,
            self._write,
            listener.on_saved,
            listener.on_unsaved,
            share=recipe.saving_share,
        )

    @property
    def last_step(self) -> int:
        """Of the newest checkpoint."""
        return self._schedule.last_step

    def after_step(self) -> None:
        """Read what the step found as far as it is due, and keep it if that is due."""
        step = self._record.step
        is_due = self._schedule.is_due(step)
        self._record.read(0 if is_due or step == self._is_last else None)
        if is_due and not self._record.bad_in_a_row:
            self.save()

    def save(self) -> None:
        """See that the last whole step is kept."""
        self._record.read(0)
        self._schedule.save(self._record.step)

    def _write(self) -> None:
        """Write a checkpoint. Raises `EnvironmentFault`."""
        _require_finite(self._stepper)
        parameters, optimizer = self._stepper.parameters, self._stepper.optimizer
        save_checkpoint(
            self._keep.folder,
            self._keep.plan_hash,
            self._record.progress(),
            parameters,
            optimizer,
            self._keep.made_on,
        )


def _stopped(kept: int, done: int, max_steps: int, stop: Stop) -> Interrupted:
    what = say("Stopped by you after step {step} of {total}. Nothing is lost.", step=done, total=max_steps)
    if kept < done:
        what = say(
            "Stopped by you after step {step} of {total}; step {kept} is saved.",
            step=done,
            total=max_steps,
            kept=kept,
        )
    return interrupted(stop.number, what, say("Start the same command again to continue from there."))


def _diverged(recipe: Recipe, step: int) -> DivergedError:
    return DivergedError(
        say("Training was stopped at step {step}: the loss is no longer a number.", step=step),
        seen=say(
            "{count} steps in a row were not finite; each was skipped, so the adapter is still intact.",
            count=MAX_BAD_STEPS,
        ),
        fix=say(
            "Start again with a lower learning rate: LEARNING_RATE={rate} ./run.sh",
            rate=f"{recipe.learning_rate / 4:.0e}",
        ),
    )


def _require_finite(stepper: Stepper) -> None:
    """A non-finite adapter is never saved."""
    if not all(bool(torch.isfinite(p).all()) for p in stepper.parameters.values()):
        raise DivergedError(
            say("The adapter contains values that are not numbers, so it is not saved."),
            fix=say("Start again with a lower learning rate: LEARNING_RATE=0.0001 ./run.sh"),
        )
