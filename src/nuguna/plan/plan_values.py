"""Every value of a plan, defined once: its title, its kind, what it may be, and whether the trained weights
depend on it.

To add one that only a plan file can say: a line here, and in `plan.Plan` the field with how it is chosen. A
wish is a field of `settings.Request` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..machine.hardware import DEVICES, DTYPES
from ..message import Message, say
from .settings import MAX_WHOLE, SETTINGS


@dataclass(frozen=True, kw_only=True)
class PlanValue:
    """One value of a plan, as a plan file has it."""

    name: str
    title: Message
    kind: type  # str, int, float (whole numbers too) or bool
    choices: tuple[Any, ...] = ()  # () for any
    # Bounds of numbers that only a plan file can say, both among them; `settings` checks the others. A whole
    # number that is too large is brought down, since the highest may follow from other values.
    lowest: float = 0
    highest: float = 0
    has_effect: bool = True  # on the trained weights, beyond the last digits of their numbers

    def has_kind(self, value: object) -> bool:
        """Return whether a value could be written by the planner, as far as kind and choices tell."""
        kinds = (int, float) if self.kind is float else self.kind
        is_right = isinstance(value, kinds) and isinstance(value, bool) == (self.kind is bool)
        return is_right and (not self.choices or value in self.choices)

    def allows(self, value: Any) -> bool:
        """Return whether a value from a plan file can be used, if need be brought down to the highest."""
        if not self.has_kind(value):
            return False
        if self.choices:
            return True
        return bool(self.lowest <= value and (self.kind is int or value <= self.highest))

    @property
    def expects(self) -> Message:
        """What the value must be, to go on after "It must be"."""
        if self.choices:
            return say("one of {choices}", choices=", ".join(str(choice).lower() for choice in self.choices))
        if self.kind is int:
            return say("a whole number, 1 or more")
        return say("a number from {lowest} to {highest}", lowest=self.lowest, highest=self.highest)


_WISHES = tuple(
    PlanValue(name=s.name, title=s.title, kind=s.kind, choices=s.choices, has_effect=s.has_effect)
    for s in SETTINGS
    if s.title is not None
)
_PLAN_FILE_ALONE = (
    PlanValue(
        name="micro_batch_size",
        title=say("examples at once"),
        kind=int,
        lowest=1,
        highest=MAX_WHOLE,
        has_effect=False,
    ),
    PlanValue(name="warmup_steps", title=say("warm-up steps"), kind=int, lowest=1, highest=MAX_WHOLE),
    PlanValue(name="weight_decay", title=say("weight decay"), kind=float, lowest=0.0, highest=1.0),
    PlanValue(name="max_grad_norm", title=say("gradient limit"), kind=float, lowest=1e-6, highest=1e6),
    PlanValue(name="device", title=say("device"), kind=str, choices=DEVICES, has_effect=False),
    PlanValue(name="dtype", title=say("number format"), kind=str, choices=DTYPES),
    PlanValue(
        name="gradient_checkpointing",
        title=say("activations computed twice"),
        kind=bool,
        choices=(True, False),
        has_effect=False,
    ),
    PlanValue(
        name="heldout_examples", title=say("questions kept for measuring"), kind=int, lowest=1, highest=1000
    ),
    PlanValue(
        name="checkpoint_every",
        title=say("checkpoint every (steps)"),
        kind=int,
        lowest=1,
        highest=MAX_WHOLE,
        has_effect=False,
    ),
    PlanValue(
        name="deterministic",
        title=say("exactly repeatable"),
        kind=bool,
        choices=(True, False),
        has_effect=False,
    ),
)
PLAN_VALUES = {value.name: value for value in (*_WISHES, *_PLAN_FILE_ALONE)}
WITHOUT_EFFECT = frozenset(value.name for value in PLAN_VALUES.values() if not value.has_effect)
