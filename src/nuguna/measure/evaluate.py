"""How well a model answers held-out questions: loss, perplexity, scores, whether answers stop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ..data.conversations.conversation import Conversation
from ..data.doctor.text_signs import language
from ..engine.forward import target_logits
from ..engine.sizes import MAX_CACHE_BYTES, MAX_NEW_TOKENS, MIN_NEW_TOKENS
from ..model.engine import engine_for
from ..model.generate import Answer, as_read
from ..model.load import Loaded
from ..model.losses import OnLess, ignore_less, over_batches
from ..tokens.batch import Batch
from ..tokens.encode import Encoded, written_answer
from .answers import described
from .bootstrap import Rows, mean_of, ratio_of
from .likelihood import choice_scores
from .scores import compare, key_terms
from .words_of import Tokenization, find_tokenization

T = TypeVar("T")
# An answer may be this much longer than the longest reference before it counts as not stopping.
SLACK = 1.5
MAX_LOSS = 50.0  # exp of more says nothing


@dataclass(frozen=True)
class Measured:
    """What was measured on one set of questions: metrics by their names in report.json, and what each
    question adds to them.
    """

    rows: Mapping[str, Rows]
    answers: tuple[Answer, ...]
    references: tuple[str, ...]  # the right answers to the same questions, as they were compared
    tokenization: Tokenization

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric over all questions."""
        return {name: round(rows.value, 6) for name, rows in self.rows.items()}


def measure(
    loaded: Loaded,
    conversations: Sequence[Conversation],
    examples: Sequence[Encoded],
    *,
    num_answers: int,
    batch_size: int,
    cache_bytes: int = MAX_CACHE_BYTES,
    on_less: OnLess = ignore_less,
) -> Measured:
    """Return loss over all held-out examples, and scores over the first `num_answers` generated answers."""
    engine = engine_for(loaded)
    losses = engine.losses(loaded, examples, batch_size, on_less)
    asked = list(conversations[:num_answers])
    room = answer_room(examples)
    made = engine.answers(loaded, asked, max_new_tokens=room, cache_bytes=cache_bytes, on_less=on_less)
    choices = choice_scores(loaded, conversations, examples, batch_size=batch_size, on_less=on_less)
    rows = {"loss": ratio_of(losses), "perplexity": perplexity_of(losses), **choices}
    right = [reference(loaded, c) for c in conversations]
    tokenization = find_tokenization(right)
    right = right[: len(asked)]
    return Measured(
        {**rows, **answer_scores(asked, made, right, tokenization)}, tuple(made), tuple(right), tokenization
    )


def reference(loaded: Loaded, conversation: Conversation) -> str:
    """Return the right answer, as a generated one is read. That is what it says; a call has words only in the
    template's form.
    """
    if not conversation.turns[-1].tool_calls:
        return conversation.answer
    ids = loaded.tokenizer(written_answer(loaded.tokenizer, conversation), add_special_tokens=False)[
        "input_ids"
    ]
    return as_read(loaded.tokenizer, ids, loaded.eos_ids)


def answer_scores(
    asked: Sequence[Conversation], made: Sequence[Answer], right: Sequence[str], tokenization: Tokenization
) -> dict[str, Rows]:
    """Return all scores of answers by their names, with what each answer adds to them; `right` are the
    references.
    """
    texts = [answer.text for answer in made]
    languages = [
        (language(c.prompt[-1].content), language(text)) for c, text in zip(asked, texts, strict=True)
    ]
    terms = key_terms(texts, [c.terms for c in asked])
    return {
        **compare(texts, right, tokenization),
        "stop_rate": mean_of([float(answer.stopped) for answer in made]),
        **described(texts, languages, tokenization),
        **({} if terms is None else {"key_terms": terms}),
    }


def perplexity_of(losses: Sequence[tuple[float, float]]) -> Rows:
    """exp of the loss."""
    loss = ratio_of(losses)
    return Rows(loss.values, lambda sums: math.exp(min(loss.metric(sums), MAX_LOSS)))


def stop_probability(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, on_less: OnLess = ignore_less
) -> float | None:
    """Return the chance that an answer has ended by where the right one ends, a mean over held-out answers
    that the window shows whole.

    Read along the right answer, each place ends it with the probability h of an end token there: 1 - Π(1 -
    h). None when the window cuts every answer.
    """
    eos_ids = sorted(loaded.eos_ids)
    whole = [e for e in examples if not e.cut and np.isin(e.ids[e.loss_mask], eos_ids).any()]
    if not whole:
        return None
    ends = torch.tensor(eos_ids, device=next(loaded.model.parameters()).device)

    def one(batch: Batch) -> torch.Tensor:
        # (trained, vocabulary), (trained,)
        logits, labels = target_logits(loaded.model, batch, loaded.shortcuts)
        ending = logits.float().softmax(-1)[:, ends].sum(-1).clamp(max=1 - 1e-6)  # (trained,)
        is_end = torch.isin(labels, ends).long()
        answer_number = is_end.cumsum(0) - is_end  # (trained,): which answer a token belongs to
        going_on = torch.zeros(int(is_end.sum()) + 1, device=ends.device).index_add_(
            0, answer_number, torch.log1p(-ending)
        )
        return (1 - going_on[: int(is_end.sum())].exp()).cpu()

    return float(torch.cat(over_batches(loaded, whole, batch_size, one, on_less)).mean())


def answer_room(examples: Sequence[Encoded]) -> int:
    """Return tokens that an answer may take: half as many again as the longest reference, within bounds."""
    longest = max((e.num_trained for e in examples), default=MIN_NEW_TOKENS)
    return int(min(MAX_NEW_TOKENS, max(MIN_NEW_TOKENS, SLACK * longest)))
