"""Conversations → token ids, and which of them are trained: the assistant's words and the token that ends its
turn.

A conversation is rendered by the model's own chat template, once up to its last answer and once as a whole.
What the whole has beyond the prompt is the answer. Prompts of `ask` and `chat` are laid out by the same
function, so that training sees token for token what they will see later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ..data.conversations.conversation import Conversation, Turn
from ..errors import DataError
from .encoded import Encoded as Encoded
from .laid_out import Part, lay_out, token_ids
from .pieces import without_beginning
from .tokenizer_protocol import Tokenizer

MAX_HEAD_CHARS = 300  # of a first paragraph that is kept


def encode_prompt(
    tokenizer: Tokenizer, turns: Sequence[Turn], tools: str = "", max_length: int | None = None
) -> list[int]:
    """Token ids of turns, ready for an answer. The template brings its own begin token, so none is added.

    What is longer than `max_length` loses what was said first, as in training.
    """

    def make(turns: Sequence[Turn]) -> Encoded:
        texts = [text for text, _ in lay_out(tokenizer, turns, tools, for_answer=True)]
        ids = np.array([token for part in token_ids(tokenizer, texts) for token in part], dtype=np.int32)
        return Encoded(ids, np.zeros(len(ids), dtype=np.bool_))

    whole = make(turns)
    if max_length is None or len(whole.ids) <= max_length:
        return list(map(int, whole.ids))
    shorter = _shortened(tokenizer, turns, max_length, make)
    return list(map(int, shorter.ids if shorter is not None else whole.ids[-max_length:]))


def encode(
    tokenizer: Tokenizer, conversation: Conversation, max_length: int, eos_ids: frozenset[int]
) -> Encoded:
    """Encode one conversation and mark what is trained.

    `eos_ids` are the tokens that end an answer. What is longer than `max_length` loses its earliest rounds,
    then the beginning of its question; if the last answer alone is too long, nothing is trained. Raises
    `DataError` when the template does not show the conversation as it is.
    """

    def make(turns: Sequence[Turn]) -> Encoded:
        parts = lay_out(tokenizer, turns, conversation.tools, for_answer=False)
        return _mark(
            token_ids(tokenizer, [text for text, _ in parts]), [is_answer for _, is_answer in parts], eos_ids
        )

    whole = make(conversation.turns)
    if len(whole.ids) <= max_length:
        return whole
    shorter = _shortened(tokenizer, conversation.turns, max_length, make)
    if shorter is None:
        return Encoded(whole.ids[:max_length], np.zeros(max_length, dtype=np.bool_), cut=True)
    return replace(shorter, cut=True)


def encode_many(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], max_length: int, eos_ids: frozenset[int]
) -> list[Encoded | DataError]:
    """Like `encode` for each, in one call of the tokenizer; its error where the template does not show a
    conversation.
    """
    laid_out = lay_out_many(tokenizer, conversations)
    return mark_many(tokenizer, laid_out, laid_out.token_ids(tokenizer), max_length, eos_ids)


@dataclass(frozen=True)
class LaidOut:
    """Conversations in the model's template, or why it does not show them."""

    conversations: Sequence[Conversation]
    parts: Sequence[list[Part] | DataError]

    def token_ids(self, tokenizer: Tokenizer) -> list[list[int]]:
        """Return the tokens of all parts, one after another. Other Python code runs meanwhile if this is
        called in a thread.
        """
        return token_ids(
            tokenizer, [text for parts in self.parts if isinstance(parts, list) for text, _ in parts]
        )


def lay_out_many(tokenizer: Tokenizer, conversations: Sequence[Conversation]) -> LaidOut:
    """Return conversations in the template, the first half of `encode_many`."""
    parts: list[list[Part] | DataError] = []
    for conversation in conversations:
        try:
            parts.append(lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False))
        except DataError as error:
            parts.append(error)
    return LaidOut(conversations, parts)


def mark_many(
    tokenizer: Tokenizer,
    laid_out: LaidOut,
    token_ids: Iterable[list[int]],
    max_length: int,
    eos_ids: frozenset[int],
) -> list[Encoded | DataError]:
    """Return an example for each conversation, the second half of `encode_many`; what is too long is encoded
    again, shorter.
    """
    left = iter(token_ids)
    made: list[Encoded | DataError] = []
    for conversation, parts in zip(laid_out.conversations, laid_out.parts, strict=True):
        if isinstance(parts, DataError):
            made.append(parts)
            continue
        whole = _mark([next(left) for _ in parts], [is_answer for _, is_answer in parts], eos_ids)
        made.append(
            whole if len(whole.ids) <= max_length else encode(tokenizer, conversation, max_length, eos_ids)
        )
    return made


def _shortened(
    tokenizer: Tokenizer, turns: Sequence[Turn], max_length: int, make: Callable[[Sequence[Turn]], Encoded]
) -> Encoded | None:
    """Return what `make` gives for the turns with as little as possible left out of what was said first; None
    if that does not help.

    The last answer is always whole, and of the last question an eighth at least: a first paragraph that is
    short, and the end.
    """
    starts = [i for i, turn in enumerate(turns) if turn.role == "user"]
    if not starts:
        return None
    system = [turn for turn in turns[:1] if turn.role == "system"]
    tries = [(*system, *turns[start:]) for start in starts[1:]]
    tries += [tuple(turns[starts[-1] :])] if system else []
    for shorter in tries:
        made = make(shorter)
        if len(made.ids) <= max_length:
            return made
    question = turns[starts[-1]].content
    first, blank, _ = question.partition("\n\n")  # what is asked about a long text stands above it, or below
    head = first + blank if blank and len(first) <= MAX_HEAD_CHARS else ""
    for kept in dict.fromkeys((head, "")):  # a first paragraph that leaves no room is cut like the rest
        shortest = _with_less_of_question(tokenizer, turns[starts[-1] :], kept, max_length, make)
        if shortest is not None:
            return shortest
    return None


def _with_less_of_question(
    tokenizer: Tokenizer,
    turns: Sequence[Turn],
    head: str,
    max_length: int,
    make: Callable[[Sequence[Turn]], Encoded],
) -> Encoded | None:
    """Return what `make` gives for the turns without as much as must be of what follows on the head of their
    question; None if that does not help. Each round takes something away, so that there is a last one.
    """
    question, *rest = turns
    least = len(question.content) // 8
    words = question.content[len(head) :]
    made = make(turns)
    while len(made.ids) > max_length:
        shorter = without_beginning(tokenizer, words, len(made.ids) - max_length)
        if len(shorter) >= len(words) or len(head) + len(shorter) <= least:
            return None
        words = shorter
        made = make((replace(question, content=head + words), *rest))
    return made


def shown_parts(tokenizer: Tokenizer, conversation: Conversation, eos_ids: frozenset[int]) -> list[Part]:
    """Return the rendered text in pieces, and which of them are trained, for people to look at."""
    ends = [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(eos_ids))]
    parts: list[Part] = []
    for text, is_answer in lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False):
        stops = [text.find(end) + len(end) for end in ends if end in text] if is_answer else []
        stop = min(stops, default=len(text))
        parts += [(text[:stop], is_answer), (text[stop:], False)]
    return [part for part in parts if part[0]]


def written_answer(tokenizer: Tokenizer, conversation: Conversation) -> str:
    """Return the last answer in the template's own form, with what ends it: what a model that is asked would
    have to say.
    """
    asked = lay_out(tokenizer, conversation.prompt, conversation.tools, for_answer=True)
    whole = lay_out(tokenizer, conversation.turns, conversation.tools, for_answer=False)
    return "".join(text for text, _ in whole)[sum(len(text) for text, _ in asked) :]


def _mark(
    token_ids: Sequence[Sequence[int]], are_answers: Sequence[bool], eos_ids: frozenset[int]
) -> Encoded:
    """Put the parts together; what a template writes after the end token of an answer is not the model's to
    say.
    """
    ids = np.array(list(chain.from_iterable(token_ids)), dtype=np.int32)
    loss_mask = np.zeros(len(ids), dtype=np.bool_)
    start = 0
    for part, is_answer in zip(token_ids, are_answers, strict=True):
        if is_answer:
            end = min((part.index(token) for token in eos_ids if token in part), default=len(part))
            loss_mask[start : start + min(end + 1, len(part))] = True
        start += len(part)
    loss_mask[:1] = False
    return Encoded(ids, loss_mask)
