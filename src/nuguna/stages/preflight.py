"""Before the training: what would go wrong without a word is looked for in the run's own model and data.

Every check has a name and can fail. The first that fails ends the run with a sentence, before time was spent in vain; what is
only suspicious is told. What each of them catches is listed in docs/reliability.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..engine.memory_watch import attempt
from ..errors import UnsoundError
from ..message import say
from ..model.load import Loaded
from ..plan.plan import Plan
from ..prove.before_training import (
    MOST_ROWS,
    check_adapter,
    check_answers,
    check_fresh,
    check_learning_rate,
    check_order,
    check_prompts,
    check_rows,
    is_text,
    spread,
    suspicions,
)
from ..prove.check import Check
from ..prove.trial_step import FAULT, Rehearsal, rehearsal_rows
from ..tokens.parts import Parts
from .events import Note, Tell
from .train import recipe_of

WRONG = {
    "rows_trained": say("Some examples teach nothing or do not fit the model."),
    "rows_begin": say("Examples begin with the begin token twice."),
    "rows_end": say("Examples do not teach the model to end its answers."),
    "prompts_as_asked": say("A question would be asked with other tokens than were trained."),
    "prompts_as_published": say("A question becomes other tokens than in the model's own library."),
    "answers_after_prompts": say("What is trained does not begin where the model's answer begins."),
    "order": say("The examples do not come in the order that they should."),
    "adapter_whole": say("The adapter is not attached as it should be."),
    "adapter_fresh": say("The fresh adapter already changes the model."),
    "learning_rate": say("The learning rate is not above zero, so nothing would be learned."),
    "own_loss": say("The loss that would be trained is not the model's own."),
    "together_as_alone": say("Examples that go through the model together give another result than one by one."),
    "step_moves": say("A training step does not move the adapter."),
    "bad_step_skipped": say("A step whose loss is not a number would not be skipped."),
    "measured_as_trained": say("Measuring computes another loss than training."),
}


def preflight(tuned: Loaded, parts: Parts, plan: Plan, base_logits: Sequence[Any], tell: Tell) -> tuple[Check, ...]:
    """Every check before the training, `base_logits` being those of `parts.probes` without an adapter. Raises `UnsoundError`.

    The model, its gradients and the random state stay as they are. Where memory is too short for the rehearsal it is left out and
    told: training does the same in smaller pieces.
    """
    began = time.perf_counter()
    recipe, done = recipe_of(plan), []
    rows = [parts.train[i] for i in spread(len(parts.train), MOST_ROWS)]
    window = plan.max_seq_length.value
    for check in (
        *check_rows(rows, tuned, window),
        *check_prompts(tuned, parts),
        check_answers(rows, tuned, is_text=is_text(parts.heldout)),
        check_order(len(parts.train), recipe),
        check_adapter(tuned.model, plan.lora_alpha.value / plan.lora_r.value),
        check_fresh(tuned, parts, base_logits),
        check_learning_rate(recipe),
    ):
        done.append(_required(check))
    rehearsal = Rehearsal(tuned, rehearsal_rows(rows[:64]), recipe)
    rehearsed = attempt(lambda: [_required(check) for check in rehearsal.checks()])
    if rehearsed is None:
        tell(Note(say("Memory is too short to try a small step before the training, so that is left out.")))
    done += rehearsed or []
    for message in suspicions(tuned, parts):
        tell(Note(message))
    seconds = f"{time.perf_counter() - began:.1f}"
    tell(Note(say("{count} checks before the training: all is well ({seconds} s).", count=len(done), seconds=seconds)))
    return tuple(done)


def _required(check: Check) -> Check:
    if not check.passed:
        raise UnsoundError(check.name, WRONG[check.name], seen=check.detail, fix=check.fix or FAULT)
    return check
