"""How well a model answers held-out questions: loss, perplexity, scores, whether answers stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from .data.batch import Batch, micro_batch_tokens, micro_batches
from .data.conversation import Conversation
from .data.encode import Encoded
from .engine.attention import packed_attention
from .engine.forward import Shortcuts, target_logits
from .engine.loss import loss_sum
from .generate import Answer, answer
from .metrics import key_terms, score
from .model import Loaded
from .shortage import in_smaller_pieces, watched

T = TypeVar("T")
# An answer may be this much longer than the longest reference before it counts as not stopping.
SLACK = 1.5
LEAST_NEW_TOKENS, MOST_NEW_TOKENS = 32, 256


@dataclass(frozen=True)
class Measured:
    """What was measured on one set of questions; `metrics` are the names of report.json."""

    metrics: dict[str, float]
    answers: tuple[Answer, ...]


OnLess = Callable[[int], None]  # told how many tokens or answers are at once in memory from now on, where it was short


def _quiet(size: int) -> None:
    """Tell nobody."""


def _over_batches(
    loaded: Loaded,
    examples: Sequence[Encoded],
    batch_size: int,
    shortcuts: Shortcuts,
    one: Callable[[Batch], T],
    on_less: OnLess,
) -> list[T]:
    """What `one` gives for each micro-batch of the examples, without gradients; in smaller ones where memory runs out."""
    device = next(loaded.model.parameters()).device

    @torch.no_grad()
    def all_of_them(most_tokens: int) -> list[T]:
        with packed_attention(loaded.model, shortcuts.packed), watched(loaded.model):
            return [one(batch) for batch in micro_batches(examples, most_tokens, device, packed=shortcuts.packed)]

    loaded.model.eval()
    most, least = (micro_batch_tokens(examples, size) for size in (batch_size, 1))
    return in_smaller_pieces(all_of_them, most, least=least, on_less=on_less)


def heldout_loss(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, shortcuts: Shortcuts, on_less: OnLess = _quiet
) -> float:
    """Mean cross-entropy of the trained tokens, natural logarithm."""

    def one(batch: Batch) -> tuple[float, int]:
        return loss_sum(loaded.model, batch, shortcuts).item(), len(batch.trained)

    found = _over_batches(loaded, examples, batch_size, shortcuts, one, on_less)
    return sum(total for total, _ in found) / max(sum(count for _, count in found), 1)


def measure(
    loaded: Loaded,
    conversations: Sequence[Conversation],
    examples: Sequence[Encoded],
    *,
    num_answers: int,
    batch_size: int,
    shortcuts: Shortcuts,
    on_less: OnLess = _quiet,
) -> Measured:
    """Loss over all held-out examples, and scores over the first `num_answers` generated answers."""
    loss = heldout_loss(loaded, examples, batch_size, shortcuts, on_less)
    asked = list(conversations[:num_answers])
    made = answer(
        loaded.model,
        loaded.tokenizer,
        [c.prompt for c in asked],
        tools=[c.tools for c in asked],
        end_ids=loaded.end_ids,
        max_new_tokens=answer_room(examples),
        batch_size=max(batch_size, 16),
        on_less=on_less,
    )
    texts, references = [a.text for a in made], [c.answer for c in asked]
    metrics = {
        "loss": round(loss, 6),
        "perplexity": round(math.exp(min(loss, 50.0)), 4),
        **score(texts, references),
        "stop_rate": round(sum(a.stopped for a in made) / len(made), 4),
    }
    terms = key_terms(texts, [c.terms for c in asked])
    if terms is not None:
        metrics["key_terms"] = terms
    return Measured(metrics, tuple(made))


def stop_chance(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, shortcuts: Shortcuts, on_less: OnLess = _quiet
) -> float | None:
    """The chance that an answer has ended by where the right one ends, a mean over held-out answers that the window shows whole.

    Read along the right answer, each place ends it with the probability h of an end token there: 1 - Π(1 - h). None when the
    window cuts every answer.
    """
    whole = [e for e in examples if not e.cut and any(t and i in loaded.end_ids for i, t in zip(e.ids, e.trained, strict=True))]
    if not whole:
        return None
    ends = torch.tensor(sorted(loaded.end_ids), device=next(loaded.model.parameters()).device)

    def one(batch: Batch) -> torch.Tensor:
        logits, labels = target_logits(loaded.model, batch, shortcuts)  # (trained, vocabulary), (trained,)
        ending = logits.float().softmax(-1)[:, ends].sum(-1).clamp(max=1 - 1e-6)  # (trained,)
        is_end = torch.isin(labels, ends).long()
        answer_number = is_end.cumsum(0) - is_end  # (trained,): which answer a token belongs to
        going_on = torch.zeros(int(is_end.sum()) + 1, device=ends.device).index_add_(0, answer_number, torch.log1p(-ending))
        return (1 - going_on[: int(is_end.sum())].exp()).cpu()

    return float(torch.cat(_over_batches(loaded, whole, batch_size, shortcuts, one, on_less)).mean())


def answer_room(examples: Sequence[Encoded]) -> int:
    """Tokens that an answer may take: half as many again as the longest reference, within bounds."""
    longest = max((e.num_trained for e in examples), default=LEAST_NEW_TOKENS)
    return int(min(MOST_NEW_TOKENS, max(LEAST_NEW_TOKENS, SLACK * longest)))
