"""When a checkpoint is written during a training, and what becomes of one that cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import EnvironmentFault

MAX_SHARE = 0.02  # of the time that goes by may go into saving
# of work may be lost, however few steps that is; 2 % of it are 6 s, more than any save here took
MAX_SECONDS = 300.0


class SaveSchedule:
    """Saves every so many steps or minutes, but never so often that saving takes more than its share of the
    time.
    """

    def __init__(
        self,
        every_steps: int,
        step: int,
        write: Callable[[], None],
        on_saved: Callable[[int], None],
        on_unsaved: Callable[[int, EnvironmentFault], None],
        share: float = MAX_SHARE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every_steps, self._share, self._clock = every_steps, share, clock
        self._write, self._on_saved, self._on_unsaved = write, on_saved, on_unsaved
        self.last_step = step  # of the newest checkpoint
        self._tried_step, self._ended, self._cost = step, clock(), 0.0

    def is_due(self, step: int) -> bool:
        """After `step` steps."""
        since = self._clock() - self._ended
        is_wanted = step - self._tried_step >= self._every_steps or since >= MAX_SECONDS
        return is_wanted and step > self._tried_step and since * self._share >= self._cost

    def save(self, step: int) -> bool:
        """Try to keep this step; returns whether it is kept. What cannot be written is told, and the training
        goes on.
        """
        if step <= self.last_step:
            return True
        began = self._clock()
        try:
            self._write()
        except EnvironmentFault as error:
            self._on_unsaved(self.last_step, error)
        else:
            self.last_step = step
            self._on_saved(step)
        self._tried_step, self._ended = step, self._clock()
        self._cost = self._ended - began
        return self.last_step == step
