"""The stages of a run as `run` calls them: each takes plain values, does one thing and returns what the next
one needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..data.conversations.conversation import Conversation
from ..engine.sizes import MAX_UNSEEN_ANSWERS
from ..measure.compared import Compared, compared
from ..measure.evaluate import Measured, measure, stop_probability
from ..message import say
from ..model.load import Loaded
from ..plan.plan import Plan
from ..tokens.encode import Encoded
from ..tokens.parts import Parts
from .events import Note, Tell


@dataclass(frozen=True)
class MeasuredAll:
    """Measurements of one model on both held-out parts."""

    main: Measured
    unseen: Measured | None
    stop_probability: float | None


def measure_all(loaded: Loaded, parts: Parts, plan: Plan, tell: Tell) -> MeasuredAll:
    """Return loss and answers on the held-out parts."""
    size = plan.micro_batch_size.value

    def on_less(count: int) -> None:
        tell(
            Note(
                say(
                    "Memory ran short while measuring: it continues with less at once, and the numbers stay "
                    "the same."
                )
            )
        )

    def one(
        conversations: tuple[Conversation, ...], encoded: tuple[Encoded, ...], num_answers: int
    ) -> Measured:
        return measure(
            loaded,
            conversations,
            encoded,
            num_answers=num_answers,
            batch_size=size,
            cache_bytes=plan.answer_bytes,
            on_less=on_less,
        )

    main = one(parts.heldout, parts.heldout_encoded, len(parts.heldout))
    unseen = one(parts.unseen, parts.unseen_encoded, MAX_UNSEEN_ANSWERS) if parts.unseen else None
    return MeasuredAll(main, unseen, stop_probability(loaded, parts.heldout_encoded, size, on_less))


def scores(before: MeasuredAll, after: MeasuredAll) -> tuple[Compared, Compared | None]:
    """Return both measurements with intervals and differences: of the main questions, and of subjects that
    training does not contain.
    """
    main = compared(before.main.rows, after.main.rows, before.main.tokenization)
    if before.unseen is None or after.unseen is None:
        return main, None
    return main, compared(before.unseen.rows, after.unseen.rows, before.unseen.tokenization)
