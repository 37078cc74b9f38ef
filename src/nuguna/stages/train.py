"""The training as a stage: the plan as plain values, what happens as events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..disk.run_folder import METRICS
from ..engine.sizes import CHUNK_BYTES
from ..engine.step_limits import Limits
from ..errors import EnvironmentFault
from ..machine.probe import memory_in_use
from ..message import Message, say
from ..model.load import Loaded
from ..plan.plan import Choice, Plan
from ..tokens.batch import micro_batch_tokens
from ..tokens.parts import Parts
from ..train.checkpoint import Resumed
from ..train.loop import Recipe, Step, Trained, train
from ..train.repeatable import repeatable, this_place
from ..train.step_log import LoggedStep, StepLog
from .events import Note, Saved, Stepped, Tell

_NAMES = {
    "machine": say("the kind of processor"),
    "device": say("where it is computed"),
    "threads": say("threads of the processor"),
    "at_once": say("examples at once"),
}


def recipe_of(plan: Plan) -> Recipe:
    """What the loop needs to know of the plan."""
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


def train_adapter(
    tuned: Loaded, parts: Parts, plan: Plan, folder: Path, mark: str, tell: Tell, on_less: Callable[[Plan], None]
) -> tuple[Trained, list[LoggedStep]]:
    """Train, with one line a step in metrics.jsonl. Returns the totals and all steps.

    Where memory is short, `on_less` receives the plan with what it allows.
    """
    log = StepLog(folder / METRICS)

    def on_resume(resumed: Resumed) -> None:
        log.go_on(resumed.progress.step)
        tell_resumed(resumed, plan, tell)

    def on_step(step: Step) -> None:
        log.add(step)
        tell(Stepped(step))

    def on_shortage(limits: Limits, step: int) -> None:
        tell(Note(_less(limits, step)))
        on_less(_with_limits(plan, limits, micro_batch_tokens(parts.train, 1), step))

    def on_unsaved(last: int, error: EnvironmentFault) -> None:
        what = say("No checkpoint could be written: {reason}. The training goes on, and tries again later.", reason=error.seen)
        tell(Note(what if last == 0 else say("{what} Kept is step {step}.", what=what, step=last)))

    with repeatable(plan.deterministic.value, plan.device.value):
        trained = train(
            tuned.model,
            parts.train,
            recipe_of(plan),
            shortcuts=tuned.shortcuts,
            folder=folder,
            mark=mark,
            on_step=on_step,
            on_resume=on_resume,
            on_stopping=lambda: tell(Note(say("Stopping: what was reached is kept. Ctrl-C once more ends at once."))),
            memory_bytes=lambda: memory_in_use(plan.device.value),
            on_shortage=on_shortage,
            on_saved=lambda step: tell(Saved(step)),
            on_unsaved=on_unsaved,
            made_on=_place_of(plan),
        )
    return trained, log.steps()


def _less(limits: Limits, step: int) -> Message:
    if limits.chunk_bytes < CHUNK_BYTES:
        how = say("with fewer logits at once")
    elif limits.checkpointing:
        how = say("computing activations twice")
    else:
        how = say("with {count} tokens at once", count=f"{limits.most_tokens:,}")
    return say("Memory ran out at step {step}; the step is done again {how}. The result stays the same.", step=step, how=how)


def _with_limits(plan: Plan, limits: Limits, longest: int, step: int) -> Plan:
    """The plan with what memory turned out to allow; `longest`: tokens of the longest example."""
    reason = say("memory ran out at step {step} with more; the result stays the same", step=step)
    micro = Choice(max(1, limits.most_tokens // longest), reason, "hardware")
    if not limits.checkpointing:
        return replace(plan, micro_batch_size=micro)
    return replace(plan, micro_batch_size=micro, gradient_checkpointing=Choice(True, reason, "hardware"))


def _place_of(plan: Plan) -> dict[str, str]:
    return this_place(plan.device.value, plan.micro_batch_size.value)


def tell_resumed(resumed: Resumed, plan: Plan, tell: Tell) -> None:
    """Say from where it goes on, and what is not as it was."""
    tell(Note(say("Going on after step {step}.", step=resumed.progress.step)))
    now = _place_of(plan)
    for name, then in resumed.made_on.items():
        if name in now and now[name] != then:
            change = {"what": _NAMES.get(name, say("{name}", name=name)), "then": then, "now": now[name]}
            tell(Note(say("Not as before: {what} ({then} → {now}). Numbers may differ in their last digits.", **change)))
