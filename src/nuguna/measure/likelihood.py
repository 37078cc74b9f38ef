"""Multiple choice by likelihood: which of the possible answers the model finds the most likely. Nothing is
generated.

A choice is scored as the answer it would be: by the sum of log p over the tokens that training would learn of
it, the end token among them. Without the end an answer that begins another one would always beat it, though
nobody would have stopped there. lm-evaluation-harness scores the words alone, in prompts of its own; its
figures for a dataset are not these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch

from ..data.conversations.conversation import Conversation, Turn
from ..engine.attention import packed_attention
from ..engine.loss import document_losses
from ..engine.memory_watch import in_smaller_pieces, watched
from ..model.load import Loaded
from ..tokens.batch import by_length, micro_batch_tokens, micro_batches, worthwhile_prefix
from ..tokens.encode import Encoded, encode_many
from .bootstrap import Rows, mean_of


def choice_scores(
    loaded: Loaded,
    conversations: Sequence[Conversation],
    examples: Sequence[Encoded],
    *,
    batch_size: int,
    on_less: Callable[[int], None],
) -> dict[str, Rows]:
    """Accuracy in percent over the conversations that have choices, {} if none has; `examples` are the
    encoded conversations.

    `choice_accuracy` takes the choice of the largest log-likelihood, `choice_accuracy_norm` that of the
    largest one a character, as lm-evaluation-harness does (acc and acc_norm, lm_eval/api/task.py); of equals
    the first.
    """
    asked = [
        (c, choice_examples(loaded, c, e))
        for c, e in zip(conversations, examples, strict=True)
        if _is_asked(c, e)
    ]
    asked = [(conversation, tried) for conversation, tried in asked if tried]
    if not asked:
        return {}
    found = log_likelihoods(loaded, [tried for _, tried in asked], batch_size=batch_size, on_less=on_less)
    right: list[tuple[float, float]] = []
    for (conversation, _), sums in zip(asked, found, strict=True):
        each = [total / len(choice) for total, choice in zip(sums, conversation.choices, strict=True)]
        place = conversation.choices.index(conversation.answer)
        right.append((float(_best(sums) == place), float(_best(each) == place)))
    return {
        "choice_accuracy": mean_of([raw for raw, _ in right], 100),
        "choice_accuracy_norm": mean_of([norm for _, norm in right], 100),
    }


def _is_asked(conversation: Conversation, example: Encoded) -> bool:
    return conversation.answer in conversation.choices and example.num_trained > 0


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def choice_examples(loaded: Loaded, conversation: Conversation, example: Encoded) -> list[Encoded]:
    """Return the conversation with each of its choices as the last answer, behind the tokens of the same
    prompt; only they are trained.

    Where the window has cut the prompt of the example, all choices follow on what is left of it. Empty if the
    template does not show one of them.
    """
    turns = conversation.turns[:-1]
    tried = [
        replace(conversation, turns=(*turns, Turn("assistant", choice))) for choice in conversation.choices
    ]
    made = encode_many(loaded.tokenizer, tried, sys.maxsize, loaded.eos_ids)
    prompt = example.ids[: _answer_start(example)]
    unread = np.zeros(len(prompt), dtype=np.bool_)
    answers = [
        (one.ids[start:], one.loss_mask[start:])
        for one in made
        if isinstance(one, Encoded)
        for start in [_answer_start(one)]
    ]
    if len(answers) < len(tried):
        return []
    return [
        Encoded(np.concatenate([prompt, ids]), np.concatenate([unread, loss_mask]))
        for ids, loss_mask in answers
    ]


def _answer_start(example: Encoded) -> int:
    """Return where the last answer begins: prompt and answers are encoded apart, so its tokens do not depend
    on what stands before.
    """
    return int(np.flatnonzero(example.loss_mask[1:] & ~example.loss_mask[:-1])[-1]) + 1


def log_likelihoods(
    loaded: Loaded,
    questions: Sequence[Sequence[Encoded]],
    *,
    batch_size: int,
    on_less: Callable[[int], None],
) -> list[list[float]]:
    """Return the sum of log p (natural) over the trained tokens of every choice of every question."""
    examples = list(chain.from_iterable(questions))
    device = next(loaded.model.parameters()).device
    groups = _groups(questions, device) if loaded.shortcuts.packed else [list(range(len(examples)))]

    @torch.no_grad()
    def all_of_them(most_tokens: int) -> list[float]:
        found = [0.0] * len(examples)
        with packed_attention(loaded.model, loaded.shortcuts.packed), watched(loaded.model):
            for group in groups:
                few = [examples[i] for i in group]
                batches = micro_batches(few, most_tokens, device, packed=loaded.shortcuts.packed)
                losses = torch.cat(
                    [document_losses(loaded.model, batch, loaded.shortcuts).cpu() for batch in batches]
                ).tolist()
                for place, loss in zip(by_length(few), losses, strict=True):
                    found[group[place]] = -loss
        return found

    loaded.model.eval()
    most, least = (micro_batch_tokens(examples, size) for size in (batch_size, 1))
    sums: Iterator[float] = iter(in_smaller_pieces(all_of_them, most, least=least, on_less=on_less))
    return [[next(sums) for _ in tried] for tried in questions]


def _groups(questions: Sequence[Sequence[Encoded]], device: torch.device) -> list[list[int]]:
    """Return which examples go together: those of a question whose long prompt is read once then; all others
    by length.
    """
    rest: list[int] = []
    groups: list[list[int]] = []
    count = 0
    for tried in questions:
        places = list(range(count, count + len(tried)))
        count += len(tried)
        if worthwhile_prefix(tried, device):
            groups.append(places)
        else:
            rest += places
    return [*groups, rest] if rest else groups
