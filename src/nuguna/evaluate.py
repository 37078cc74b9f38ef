"""How well a model answers held-out questions: loss, perplexity, scores, whether answers stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from .data.batch import Batch, by_length, micro_batch_tokens, micro_batches
from .data.conversation import Conversation
from .data.encode import Encoded, written_answer
from .data.suspicions import language
from .engine.attention import packed_attention
from .engine.forward import Shortcuts, target_logits
from .engine.loss import document_losses
from .generate import MOST_CACHE_BYTES, Answer, answer, as_read
from .likelihood import choice_scores
from .metrics.answers import described
from .metrics.bootstrap import Rows, mean_of, ratio_of
from .metrics.scores import compare, key_terms
from .metrics.split import Tokenization, find_tokenization
from .model import Loaded
from .shortage import in_smaller_pieces, watched

T = TypeVar("T")
# An answer may be this much longer than the longest reference before it counts as not stopping.
SLACK = 1.5
LEAST_NEW_TOKENS, MOST_NEW_TOKENS = 32, 256
MOST_LOSS = 50.0  # exp of more says nothing


@dataclass(frozen=True)
class Measured:
    """What was measured on one set of questions: metrics by their names in report.json, and what each question adds to them."""

    rows: Mapping[str, Rows]
    answers: tuple[Answer, ...]
    references: tuple[str, ...]  # the right answers to the same questions, as they were compared
    tokenization: Tokenization

    @property
    def metrics(self) -> dict[str, float]:
        """Each metric over all questions."""
        return {name: round(rows.value, 6) for name, rows in self.rows.items()}


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


def heldout_losses(
    loaded: Loaded, examples: Sequence[Encoded], batch_size: int, shortcuts: Shortcuts, on_less: OnLess = _quiet
) -> list[tuple[float, float]]:
    """(sum of the cross-entropies of an example's trained tokens, natural logarithm; how many these are), for each example."""

    def one(batch: Batch) -> torch.Tensor:
        return document_losses(loaded.model, batch, shortcuts).cpu()

    losses = torch.cat(_over_batches(loaded, examples, batch_size, shortcuts, one, on_less)).tolist()
    order = by_length(examples)
    found = dict(zip(order, losses, strict=True))
    return [(found[i], float(example.num_trained)) for i, example in enumerate(examples)]


def measure(
    loaded: Loaded,
    conversations: Sequence[Conversation],
    examples: Sequence[Encoded],
    *,
    num_answers: int,
    batch_size: int,
    shortcuts: Shortcuts,
    cache_bytes: int = MOST_CACHE_BYTES,
    on_less: OnLess = _quiet,
) -> Measured:
    """Loss over all held-out examples, and scores over the first `num_answers` generated answers."""
    losses = heldout_losses(loaded, examples, batch_size, shortcuts, on_less)
    asked = list(conversations[:num_answers])
    made = answer(
        loaded.model,
        loaded.tokenizer,
        [c.prompt for c in asked],
        tools=[c.tools for c in asked],
        end_ids=loaded.end_ids,
        max_new_tokens=answer_room(examples),
        cache_bytes=cache_bytes,
        on_less=on_less,
    )
    choices = choice_scores(loaded, conversations, examples, batch_size=batch_size, shortcuts=shortcuts, on_less=on_less)
    rows = {"loss": ratio_of(losses), "perplexity": perplexity_of(losses), **choices}
    right = [reference(loaded, c) for c in conversations]
    tokenization = find_tokenization(right)
    right = right[: len(asked)]
    return Measured({**rows, **answer_scores(asked, made, right, tokenization)}, tuple(made), tuple(right), tokenization)


def reference(loaded: Loaded, conversation: Conversation) -> str:
    """The right answer, as a generated one is read. That is what it says; a call has words only in the template's form."""
    if not conversation.turns[-1].tool_calls:
        return conversation.answer
    ids = loaded.tokenizer(written_answer(loaded.tokenizer, conversation), add_special_tokens=False)["input_ids"]
    return as_read(loaded.tokenizer, ids, loaded.end_ids)


def answer_scores(
    asked: Sequence[Conversation], made: Sequence[Answer], right: Sequence[str], tokenization: Tokenization
) -> dict[str, Rows]:
    """All scores of answers by their names, with what each answer adds to them; `right` are the references."""
    texts = [answer.text for answer in made]
    languages = [(language(c.prompt[-1].content), language(text)) for c, text in zip(asked, texts, strict=True)]
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
    return Rows(loss.values, lambda sums: math.exp(min(loss.metric(sums), MOST_LOSS)))


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
