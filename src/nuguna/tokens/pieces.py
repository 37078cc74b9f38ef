"""What is one row and several examples: a plain text longer than a model's window, a conversation with
several thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ..data.conversations.conversation import TEXT, Conversation, Turn
from .tokenizer_protocol import Tokenizer

# where a text may end, best first: between paragraphs, lines, sentences, words
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。])\s+"), re.compile(r"\s+"))
_NEAR = 40  # characters after which the next word would cost more than half a word says
_BLANK = re.compile(r"\s+")
_GIVEN = 3  # a third of a piece is what the model is given when it is asked to go on


def pieces(tokenizer: Tokenizer, conversation: Conversation, max_length: int) -> Iterator[Conversation]:
    """Yield the examples of a row: of plain text pieces that fit, each with a beginning to go on from; of
    most others one.

    Reasoning models forget what they thought in earlier rounds, so each answer that was thought about is an
    example of its own.
    """
    turns = conversation.turns
    if turns[0].role != TEXT:
        thought = [
            i
            for i, turn in enumerate(turns[:-1])
            if turn.role == "assistant" and turn.reasoning and turn.is_trained
        ]
        yield from (replace(conversation, turns=turns[: i + 1]) for i in thought)
        yield conversation
        return
    text = "".join(turn.content for turn in turns)
    room = max(1, max_length - 3)  # a begin and an end token, and one more where a piece is torn in a word
    while text:
        most = _most_chars(tokenizer, text, room)
        stop = len(text) if most == len(text) else _break_before(text, most)
        yield replace(conversation, turns=_given_and_wanted(text[:stop]))
        text = text[stop:]


def _most_chars(tokenizer: Tokenizer, text: str, room: int) -> int:
    """Return how many first characters of a text are at most `room` tokens; no more of it is tokenised than
    that needs.
    """
    size = 8 * room
    while True:
        part = text[:size]
        ends = [
            end
            for _, end in tokenizer(part, add_special_tokens=False, return_offsets_mapping=True)[
                "offset_mapping"
            ]
        ]
        if len(ends) > room:
            return max(1, int(ends[room - 1]))
        if size >= len(text):
            return len(text)
        size *= 2


def _break_before(text: str, most: int) -> int:
    """Return the best place to end within the first `most` characters, in their second half if there is
    one.
    """
    for pattern in _BREAKS:
        found = [match.end() for match in pattern.finditer(text, most // 2, most)]
        if found:
            return found[-1]
    return most


def _given_and_wanted(text: str) -> tuple[Turn, ...]:
    """Return the beginning of a piece and the rest of it."""
    found = re.compile(r"\s").search(text, len(text) // _GIVEN)
    place = found.start() if found and found.start() > 0 else len(text) // _GIVEN
    parts = (text[:place], text[place:])
    return tuple(Turn(TEXT, part) for part in parts if part)


def without_beginning(tokenizer: Tokenizer, text: str, num_tokens: int) -> str:
    """Return a text without its first tokens, from where a word begins if one does soon."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if num_tokens >= len(offsets):
        return ""
    start = max(1, offsets[num_tokens][0])
    blank = _BLANK.search(text, start - 1, start + _NEAR)
    return text[blank.end() if blank else start :].lstrip()
