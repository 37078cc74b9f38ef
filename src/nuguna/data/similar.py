"""Which examples are the same or nearly the same, whatever their order in the file."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from .conversations.conversation import TEXT, Conversation

_NO_WORD = re.compile(r"[\W_]+")
_WORDS = re.compile(r"\w+")
# Korean words carry particles and endings; a question with another one is the same question
_ENDINGS = re.compile(
    "(?<=[가-힣])(?:은|는|이|가|을|를|의|에|에서|에게|으로|로|와|과|도|만|란|이란|인가요|인가|인지|입니까|일까요|인데요|이에요|예요|에요|요|나요|습니까|합니까|하나요|한가요|할까요|해요|주세요|줘요|줘)$"
)
_LIGHT = frozenset(  # words that do not change what is asked
    "a an the of for to in on is are was were be do does did please can could would you tell me i"
    " 무엇 뭐 뭔 좀 제발 알려 알려주세요 설명해 설명해주세요 대해 대하여 대해서".split()
)
_EDGE = 5  # characters at each end by which questions are looked up: one slip can be at one end only
_MAX_SHARED = 0.65  # share of two questions' words, by weight, from which on they ask the same
_MIN_WORDS = 4  # of shorter questions one word is much
_MIN_CHARS = 12  # of shorter questions one letter is much


def normalised(text: str) -> str:
    """Return a text without case, blanks and punctuation, and with Hangul in one form."""
    return _NO_WORD.sub("", _one_form(text))


def _one_form(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def question_of(conversation: Conversation) -> str:
    """Return what an example asks: all that stands before its last answer, but for the system's words; of
    plain text all.
    """
    turns = conversation.turns
    if turns[0].role == TEXT:
        return "".join(turn.content for turn in turns)
    return "\n".join(turn.content for turn in turns[:-1] if turn.role != "system")


def question_key(conversation: Conversation) -> int:
    """64 bits that are the same for questions of the same words, whatever their order, case, punctuation and
    particles.
    """
    question = _one_form(question_of(conversation))
    if conversation.turns[0].role == TEXT:
        return _key(_NO_WORD.sub("", question) or question)
    return _key(" ".join(sorted(_stems(question))) or question)


def beginnings(conversation: Conversation) -> Iterator[Conversation]:
    """Yield what is said up to each answer that is learned; the last one is the conversation itself."""
    for i, turn in enumerate(conversation.turns[:-1], 1):
        if turn.role == "assistant" and turn.is_trained:
            yield replace(conversation, turns=conversation.turns[:i])
    yield conversation


@lru_cache(maxsize=4)  # the same question is asked for its key and for its likeness
def _stems(text: str) -> frozenset[str]:
    """Return the words that say something, without case and particles."""
    return frozenset(map(_stem, _WORDS.findall(text))) - _LIGHT


@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    return _ENDINGS.sub("", word)


def content_key(conversation: Conversation) -> int:
    """64 bits of all that is said."""
    parts = [
        conversation.tools,
        *conversation.terms,
        *(("choices", *conversation.choices) if conversation.choices else ()),
    ]
    for turn in conversation.turns:
        parts += (turn.role, turn.content, turn.reasoning, turn.tool_calls, turn.name, turn.call_id)
        if not turn.is_trained:
            parts.append("read")
    return _key("\0".join(parts))  # no text holds this character


def _key(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little"
    )


class Alike:
    """Finds questions nearly the same as one of those it was given: but for one letter, or in most of their
    words.

    Words count the more the rarer they are in the data; a digit is never a slip, and another number is
    another question.
    """

    def __init__(self, questions: Sequence[str], others: Sequence[str] = ()) -> None:
        """`others` are questions of the same data, by which is judged how rare a word is."""
        self._places: defaultdict[str, set[str]] = defaultdict(set)
        for question in map(normalised, questions):
            if len(question) >= _MIN_CHARS:
                for edge in _edges(question):
                    self._places[edge].add(question)
        stems = [_stems(_one_form(question)) for question in questions]
        counts = Counter(
            stem for group in (*stems, *(_stems(_one_form(other)) for other in others)) for stem in group
        )
        self._num = len(questions) + len(others) + 1
        self._weights = {stem: math.log(self._num / (1 + count)) + 1.0 for stem, count in counts.items()}
        self._weight_of_new = math.log(self._num) + 1.0
        # first by the words with a digit, which have to be the same ones: of numbered rows that leaves nearly
        # none
        self._by_numbers: defaultdict[frozenset[str], defaultdict[str, list[frozenset[str]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for group in dict.fromkeys(stems):
            if len(group) >= _MIN_WORDS:
                by_stem = self._by_numbers[_numbers(group)]
                for stem in self._telling(group):
                    by_stem[stem].append(group)

    def finds(self, question: str) -> bool:
        """Return whether it is nearly one of them."""
        text = normalised(question)
        if any(_one_slip(text, other) for edge in _edges(text) for other in self._places.get(edge, ())):
            return True
        stems = _stems(_one_form(question))
        by_stem = self._by_numbers.get(_numbers(stems))
        if by_stem is None:
            return False
        groups = {group for stem in stems for group in by_stem.get(stem, ())}
        return any(self._share(stems, group) >= _MAX_SHARED for group in groups)

    def _weight(self, stem: str) -> float:
        return self._weights.get(stem, self._weight_of_new)

    def _telling(self, group: frozenset[str]) -> list[str]:
        """Return the heaviest words, of which a question with so many words in common has at least one."""
        ordered = sorted(group, key=self._weight, reverse=True)
        room = (1 - _MAX_SHARED) * sum(map(self._weight, group))
        chosen: list[str] = []
        for stem in ordered:
            chosen.append(stem)
            room -= self._weight(stem)
            if room < 0:
                break
        return chosen

    def _share(self, a: frozenset[str], b: frozenset[str]) -> float:
        """Weight of the common words over that of all."""
        common = sum(map(self._weight, a & b))
        return common / (common + sum(map(self._weight, a ^ b)))


def _numbers(stems: frozenset[str]) -> frozenset[str]:
    """Return the words that hold a digit."""
    return frozenset(stem for stem in stems if not stem.isalpha() and any(map(str.isdigit, stem)))


def _edges(text: str) -> tuple[str, str]:
    return f"{text[:_EDGE]}…", f"…{text[-_EDGE:]}"


def _one_slip(a: str, b: str) -> bool:
    """Return whether one letter was put in, left out or replaced, and that is no digit."""
    if abs(len(a) - len(b)) > 1:
        return False
    short, long = sorted((a, b), key=len)
    start = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    same_length = len(short) == len(long)
    if short[start + same_length :] != long[start + 1 :]:
        return False
    return not any(char.isdigit() for char in short[start : start + same_length] + long[start : start + 1])
