"""Which examples are the same or nearly the same, whatever their order in the file."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from .conversation import TEXT, Conversation

_NO_WORD = re.compile(r"[\W_]+")
_WORDS = re.compile(r"\w+")
# Korean words carry particles and endings; a question with another one is the same question
_ENDINGS = re.compile(
    "(?<=[가-힣])(?:은|는|이|가|을|를|의|에|에서|에게|으로|로|와|과|도|만|란|이란|인가요|인가|인지|입니까|일까요|인데요|이에요|예요|에요|요"
    "|나요|습니까|합니까|하나요|한가요|할까요|해요|주세요|줘요|줘)$"
)
_LIGHT = frozenset(  # words that do not change what is asked
    "a an the of for to in on is are was were be do does did please can could would you tell me i"
    " 무엇 뭐 뭔 좀 제발 알려 알려주세요 설명해 설명해주세요 대해 대하여 대해서".split()
)
_EDGE = 5  # characters at each end by which questions are looked up: one slip can be at one end only
_LEAST_CHARS = 12  # of shorter questions one letter is much


def normalised(text: str) -> str:
    """A text without case, blanks and punctuation, and with Hangul in one form."""
    return _NO_WORD.sub("", _one_form(text))


def _one_form(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def question_of(conversation: Conversation) -> str:
    """What an example asks: all that stands before its last answer, but for the system's words; of plain text all."""
    turns = conversation.turns
    if turns[0].role == TEXT:
        return "".join(turn.content for turn in turns)
    return "\n".join(turn.content for turn in turns[:-1] if turn.role != "system")


def question_key(conversation: Conversation) -> int:
    """64 bits that are the same for questions of the same words, whatever their order, case, punctuation and particles."""
    question = _one_form(question_of(conversation))
    if conversation.turns[0].role == TEXT:
        return _key(_NO_WORD.sub("", question) or question)
    words = set(map(_stem, _WORDS.findall(question))) - _LIGHT
    return _key(" ".join(sorted(words)) or question)


@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    return _ENDINGS.sub("", word)


def content_key(conversation: Conversation) -> int:
    """64 bits of all that is said."""
    parts = [conversation.tools, *conversation.terms]
    for turn in conversation.turns:
        parts += (turn.role, turn.content, turn.reasoning, turn.tool_calls, turn.name)
    return _key("\0".join(parts))  # no text holds this character


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


class Alike:
    """Finds questions that differ by one letter at most from one of those it was given; a digit is never a slip."""

    def __init__(self, questions: Sequence[str]) -> None:
        self._places: defaultdict[str, set[str]] = defaultdict(set)
        for question in map(normalised, questions):
            if len(question) >= _LEAST_CHARS:
                for edge in _edges(question):
                    self._places[edge].add(question)

    def finds(self, question: str) -> bool:
        """Whether it is nearly one of them."""
        text = normalised(question)
        return any(_one_slip(text, other) for edge in _edges(text) for other in self._places.get(edge, ()))


def _edges(text: str) -> tuple[str, str]:
    return f"{text[:_EDGE]}…", f"…{text[-_EDGE:]}"


def _one_slip(a: str, b: str) -> bool:
    """Whether one letter was put in, left out or replaced, and that is no digit."""
    if abs(len(a) - len(b)) > 1:
        return False
    short, long = sorted((a, b), key=len)
    start = next((i for i, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    same_length = len(short) == len(long)
    if short[start + same_length :] != long[start + 1 :]:
        return False
    return not any(char.isdigit() for char in short[start : start + same_length] + long[start : start + 1])
