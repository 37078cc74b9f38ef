"""The training as a stage: the plan as plain values, what happens as events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..disk.run_folder import METRICS
from ..engine.sizes import LOGITS_BYTES
from ..engine.step_limits import Limits
from ..errors import EnvironmentFault
from ..message import Message, say
from ..model.load import Loaded
from ..plan.plan import Choice, Plan
from ..tokens.parts import Parts
from ..tokens.step_batches import Batches
from ..train.checkpoint import Resumed
from ..train.loop import Keep, Recipe, Step, Trained, train
from ..train.objectives import SFT
from ..train.repeatable import repeatable, this_place
from ..train.step_log import LoggedStep, StepLog
from .events import Note, Saved, Stepped, Tell

_NAMES = {
    "machine": say("the kind of processor"),
    "device": say("the computing device"),
    "threads": say("processor threads"),
    "at_once": say("examples at once"),
}


def recipe_of(plan: Plan) -> Recipe:
    """Return what the loop needs to know of the plan."""
    return Recipe(
        max_steps=plan.max_steps.value,
        batch_size=plan.batch_size.value,
        micro_batch_size=plan.micro_batch_size.value,
        learning_rate=plan.learning_rate.value,
        warmup_steps=plan.warmup_steps.value,
        weight_decay=plan.weight_decay.value,
        max_grad_norm=plan.max_grad_norm.value,
        seed=plan.seed.value,
        checkpoint_every=plan.checkpoint_every.value,
    )


class _Reporter:
    """Hears the training: writes metrics.jsonl, turns what happens into events, and lets the plan file
    follow.
    """

    def __init__(
        self, plan: Plan, batches: Batches, log: StepLog, tell: Tell, on_less: Callable[[Plan], None]
    ) -> None:
        self._plan, self._batches, self._log, self._tell, self._on_less = plan, batches, log, tell, on_less

    def on_resumed(self, resumed: Resumed) -> None:
        """Forget the steps after the checkpoint, and say what is not as it was."""
        self._log.go_on(resumed.progress.step)
        tell_resumed(resumed, self._plan, self._tell)

    def on_step(self, step: Step) -> None:
        """One more line in metrics.jsonl."""
        self._log.add(step)
        self._tell(Stepped(step))

    def on_shortage(self, limits: Limits, step: int) -> None:
        """Say what became less, and write it into the plan."""
        self._tell(Note(_less(limits, step)))
        self._on_less(_with_limits(self._plan, limits, self._batches.max_tokens(1), step))

    def on_saved(self, step: int) -> None:
        """A checkpoint is on the disk."""
        self._tell(Saved(step))

    def on_unsaved(self, last_step: int, error: EnvironmentFault) -> None:
        """Say why no checkpoint could be written, and which one there is."""
        what = say(
            "No checkpoint could be written: {reason}. Training continues, and tries again later.",
            reason=error.seen,
        )
        self._tell(
            Note(
                what
                if last_step == 0
                else say("{what} The last saved step is {step}.", what=what, step=last_step)
            )
        )

    def on_stopping(self) -> None:
        """Say that Ctrl-C was heard."""
        self._tell(Note(say("Stopping: your progress is saved. Press Ctrl-C again to end at once.")))


def train_adapter(
    tuned: Loaded,
    parts: Parts,
    plan: Plan,
    folder: Path,
    plan_hash: str,
    tell: Tell,
    on_less: Callable[[Plan], None],
) -> tuple[Trained, list[LoggedStep]]:
    """Train, with one line a step in metrics.jsonl. Returns the totals and all steps.

    Where memory is short, `on_less` receives the plan with what it allows.
    """
    recipe, log = recipe_of(plan), StepLog(folder / METRICS)
    device = next(tuned.model.parameters()).device
    batches = SFT.batches(parts.train, recipe.batch_size, recipe.seed, device, tuned.shortcuts.packed)
    keep = Keep(folder, plan_hash, _place_of(plan))
    with repeatable(plan.deterministic.value, plan.device.value):
        trained = train(tuned, batches, SFT, recipe, keep, _Reporter(plan, batches, log, tell, on_less))
    return trained, log.steps()


def _less(limits: Limits, step: int) -> Message:
    if limits.chunk_bytes < LOGITS_BYTES:
        how = say("with fewer logits at once")
    elif limits.checkpointing:
        how = say("computing activations twice")
    else:
        how = say("with {count} tokens at once", count=f"{limits.most_tokens:,}")
    return say(
        "Memory ran out at step {step}; the step is repeated {how}. The result stays the same.",
        step=step,
        how=how,
    )


def _with_limits(plan: Plan, limits: Limits, longest: int, step: int) -> Plan:
    """Return the plan with what memory turned out to allow; `longest`: tokens of the longest example."""
    reason = say("memory ran out at step {step} with more; the result stays the same", step=step)
    micro = Choice(max(1, limits.most_tokens // longest), reason, "hardware")
    if not limits.checkpointing:
        return replace(plan, micro_batch_size=micro)
    return replace(plan, micro_batch_size=micro, gradient_checkpointing=Choice(True, reason, "hardware"))


def _place_of(plan: Plan) -> dict[str, str]:
    return this_place(plan.device.value, plan.micro_batch_size.value)


def tell_resumed(resumed: Resumed, plan: Plan, tell: Tell) -> None:
    """Say from where it goes on, and what is not as it was."""
    tell(Note(say("Continuing after step {step}.", step=resumed.progress.step)))
    now = _place_of(plan)
    for name, then in resumed.made_on.items():
        if name in now and now[name] != then:
            change = {"what": _NAMES.get(name, say("{name}", name=name)), "then": then, "now": now[name]}
            tell(
                Note(
                    say(
                        "Different from before: {what} ({then} → {now}). Numbers may differ in their last "
                        "digits.",
                        **change,
                    )
                )
            )
