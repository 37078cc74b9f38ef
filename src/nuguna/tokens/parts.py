"""The parts of the data as a run uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.conversations.conversation import Conversation, Turn
from .encode import Encoded

NUM_PROBES = 3  # questions whose logits are compared for the proofs


@dataclass(frozen=True)
class Parts:
    """The data as the run uses it; `heldout` and `unseen` are never trained on."""

    train: Sequence[Encoded]
    heldout: tuple[Conversation, ...]
    heldout_encoded: tuple[Encoded, ...]
    unseen: tuple[Conversation, ...]
    unseen_encoded: tuple[Encoded, ...]
    system: str  # said in every conversation, so `ask` and `chat` say it too

    @property
    def probes(self) -> list[tuple[Turn, ...]]:
        """The questions on which logits are compared."""
        return [c.prompt for c in self.heldout[:NUM_PROBES]]
