"""Before the training: what would go wrong without a word is looked for in the run's own model and data.

Every check has a name and can fail. The first that fails ends the run with a sentence, before time was spent
in vain; what is only suspicious is told. What each of them catches is listed in docs/reliability.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ..engine.memory_watch import attempt
from ..errors import UnsoundError
from ..message import say
from ..model.load import Loaded
from ..plan.plan import Plan
from ..prove.before_training import checks_before_training, looked_at, suspicions
from ..prove.check import Check, what_is_wrong
from ..prove.trial_step import FAULT, TrialStep, trial_rows
from ..tokens.parts import Parts
from .events import Note, Tell
from .train import recipe_of


def preflight(
    tuned: Loaded, parts: Parts, plan: Plan, base_logits: Sequence[Any], tell: Tell
) -> tuple[Check, ...]:
    """Every check before the training, `base_logits` being those of `parts.probes` without an adapter. Raises
    `UnsoundError`.

    The model, its gradients and the random state stay as they are. Where memory is too short for the
    rehearsal it is left out and told: training does the same in smaller pieces.
    """
    began = time.perf_counter()
    recipe = recipe_of(plan)
    window, scale = plan.max_seq_length.value, plan.lora_alpha.value / plan.lora_r.value
    checks = checks_before_training(tuned, parts, recipe, base_logits, window=window, scale=scale)
    done = [_required(check) for check in checks]
    rehearsal = TrialStep(tuned, trial_rows(looked_at(parts.train)[:64]), recipe)
    rehearsed = attempt(lambda: _rehearsed(rehearsal))
    if rehearsed is None:
        tell(
            Note(
                say(
                    "There is too little memory to try a small step before training, so that check is "
                    "skipped."
                )
            )
        )
    done += rehearsed or []
    for message in suspicions(tuned, parts):
        tell(Note(message))
    seconds = f"{time.perf_counter() - began:.1f}"
    tell(
        Note(
            say(
                "{count} checks before training: all is well ({seconds} s).", count=len(done), seconds=seconds
            )
        )
    )
    return tuple(done)


def _rehearsed(rehearsal: TrialStep) -> list[Check]:
    # also where one fails: what was stirred for them is put back at once
    with closing(rehearsal.checks()) as checks:
        return [_required(check) for check in checks]


def _required(check: Check) -> Check:
    if not check.passed:
        raise UnsoundError(check.name, what_is_wrong(check.name), seen=check.detail, fix=check.fix or FAULT)
    return check
