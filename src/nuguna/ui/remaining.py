"""How long a run still takes: as predicted at first, then by the steps that were made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..message import Message, say
from ..plan.timing import TimeEstimate
from ..text.units import format_seconds

if TYPE_CHECKING:
    from ..train.loop import Step

PREDICTED_STEPS = 3  # the prediction counts as much as so many measured steps
STEPS_TO_JUDGE = 8  # measured steps after which a wrong prediction is said aloud
TOLERANCE = 0.25  # by which a total may differ from the prediction without a word


class Remaining:
    """The time left of one run. Begins when the plan is made."""

    def __init__(
        self, predicted: TimeEstimate, max_steps: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._predicted, self._now, self._began = predicted, now, now()
        self._step_seconds = predicted.parts["training"] / max(1, max_steps)
        self._first: Step | None = None
        self._is_said = False

    def after(self, step: Step) -> float:
        """Seconds left of the whole run when `step` has ended.

        The first step is slower than the others, as kernels are made in it, and is left out. What comes after
        the training is slower or faster than predicted by as much as the steps are: it is the same machine.
        """
        self._first = self._first or step
        num_measured = step.step - self._first.step
        measured = step.elapsed_seconds - self._first.elapsed_seconds
        each = (PREDICTED_STEPS * self._step_seconds + measured) / (PREDICTED_STEPS + num_measured)
        closing = self._predicted.closing_seconds * each / self._step_seconds
        return each * (step.max_steps - step.step) + closing

    def correction(self, step: Step) -> Message | None:
        """Once, when enough steps were made: the corrected total, if it is far from the prediction.

        Never for a run that goes on from a checkpoint: the prediction is of the whole.
        """
        left = self.after(step)
        if (
            self._is_said
            or self._first is None
            or self._first.step > 1
            or step.step - self._first.step < STEPS_TO_JUDGE
        ):
            return None
        self._is_said = True
        total, predicted = self._now() - self._began + left, self._predicted.total_seconds
        if abs(total / predicted - 1) <= TOLERANCE:
            return None
        return say(
            "Judging by the first steps, it takes about {total} in all, not {predicted}.",
            total=format_seconds(total),
            predicted=format_seconds(predicted),
        )
