"""What a run tells while it works. The stages return values; these small records go out by a callback to
whoever shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..machine.hardware import Hardware
from ..measure.compared import Compared
from ..message import Message
from ..plan.plan import Plan

if TYPE_CHECKING:  # these bring torch, and a mistake in a setting should be told at once
    from ..prove.check import Check
    from ..train.loop import Step


@dataclass(frozen=True)
class Stage:
    """A new stage begins."""

    message: Message


@dataclass(frozen=True)
class Note:
    """Something the user should know, in one sentence."""

    message: Message


@dataclass(frozen=True)
class RowsRead:
    """So many rows of the data were read."""

    num_rows: int


@dataclass(frozen=True)
class Planned:
    """The plan is made."""

    plan: Plan
    hardware: Hardware


@dataclass(frozen=True)
class Downloading:
    """So many bytes of so many are here."""

    done: int
    total: int


@dataclass(frozen=True)
class Trying:
    """So many of so many answers are made."""

    done: int
    total: int


@dataclass(frozen=True)
class Stepped:
    """One optimizer step."""

    step: Step


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk: whatever happens now, these steps are not lost."""

    step: int


@dataclass(frozen=True)
class Scored:
    """Held-out numbers before and after, with their intervals; `unseen` on subjects that training did not
    contain.
    """

    scores: Compared
    unseen: Compared | None
    losses: Sequence[tuple[int, float]]  # (step, training loss)


@dataclass(frozen=True)
class Proved:
    """The checks."""

    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Finished:
    """The run is over and its folder is complete."""

    succeeded: bool
    folder: Path
    seconds: float


Event = (
    Stage | Note | RowsRead | Planned | Downloading | Trying | Stepped | Saved | Scored | Proved | Finished
)
Tell = Callable[[Event], None]


def quiet(event: Event) -> None:
    """Tell nobody."""
