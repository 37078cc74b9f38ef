"""How a text is taken apart into words, so that a score is right in Korean too.

A Korean word carries particles: 고혈압은 and 고혈압이 are the same word said twice. `rouge-score` keeps
ASCII letters only and gives two identical Korean sentences 0; other trainers count syllables and call it
ROUGE. Here Hangul is taken apart into morphemes where kiwipiepy is installed, into words and particles where
it is not, and the result says which.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# raised whenever a text is taken apart in another way, so that old numbers are not compared with new ones
VERSION = 1
MIN_KOREAN = 0.1  # share of the letters of all references from which on a set counts as Korean
_LETTERS = re.compile(r"[^\W_]+")
_WORD_OR_SIGN = re.compile(r"[^\W_]+|[^\w\s]|_")
_HANGUL = re.compile("[가-힣]")
# Particles by what they may follow: any syllable, a closed one (with a final consonant), an open one. Those
# of one syllable that end many nouns too (도, 만, 의, 에, 로) are taken off only where two syllables stay.
_ANY = (
    "에서부터 에게서 으로부터 에서는 에서도 에게는 까지는 까지도 부터는 이라는 이라고 처럼 보다 부터 까지 "
    "에서 에게 한테 께서 마다 조차 마저 밖에 입니다 이에요 예요 에는 에도"
).split()
_CLOSED = "으로는 으로도 으로서 으로써 이라도 이란 이나 이며 이다 으로 은 이 을 과".split()
_OPEN = "로서 로써 라는 라도 란 나 며 는 가 를 와".split()
_LONG_STEM = "도 만 의 에 로 나 며 란".split()


@dataclass(frozen=True)
class Tokenization:
    """A way to take texts apart, and its name as results carry it."""

    name: str  # words, words+particles, or morphemes with the version of kiwipiepy
    split: Callable[[str], Iterable[str]]  # a text in small letters → words, and every other sign by itself

    @property
    def signature(self) -> str:
        """What two results must share to be compared."""
        return f"nuguna|tok:{self.name}|case:lower|norm:NFC|v:{VERSION}"

    def words_and_signs(self, text: str) -> list[str]:
        """Return all parts but blanks."""
        return list(self.split(one_form(text).lower()))

    def words(self, text: str) -> list[str]:
        """Return the parts that hold letters or digits; where a text is nothing but signs, these."""
        parts = self.words_and_signs(text)
        return [part for part in parts if part.isalnum()] or parts


def one_form(text: str) -> str:
    """Return a text in which each syllable of Hangul is one character, however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def find_tokenization(texts: Iterable[str]) -> Tokenization:
    """Return the one that fits the references: words, unless a tenth of their letters is Hangul."""
    hangul = letters = 0
    for text in texts:
        found = "".join(_LETTERS.findall(one_form(text)))
        letters += len(found)
        hangul += len(_HANGUL.findall(found))
    if hangul < MIN_KOREAN * letters or not letters:
        return Tokenization("words", _WORD_OR_SIGN.findall)
    if (kiwi := _kiwi()) is not None:
        return Tokenization(f"morphemes/kiwipiepy-{kiwi.__version__}", _morphemes)
    return Tokenization("words+particles", _words_and_particles)


def _words_and_particles(text: str) -> Iterator[str]:
    for word in _WORD_OR_SIGN.findall(text):
        yield from without_particle(word) if _HANGUL.search(word) else (word,)


@lru_cache(maxsize=2**16)
def without_particle(word: str) -> tuple[str, ...]:
    """약을 → 약, 을: a word and its particle, by the rules of final consonants; 사과 and 마을 stay whole."""
    for particle in _PARTICLES:
        stem = word.removesuffix(particle)
        if stem != word and _may_follow(stem, particle):
            return stem, particle
    return (word,)


_PARTICLES = sorted({*_ANY, *_CLOSED, *_OPEN, *_LONG_STEM}, key=len, reverse=True)


def _may_follow(stem: str, particle: str) -> bool:
    if not stem or (particle in _LONG_STEM and len(stem) < 2):
        return False
    last = stem[-1]
    if not "가" <= last <= "힣":  # MRI는: a final consonant cannot be seen
        return True
    # each syllable has 28 forms, the first without one (Unicode, section 3.12)
    final = (ord(last) - ord("가")) % 28
    if particle in _CLOSED:
        return final > 0
    if particle in _OPEN or particle == "로":
        return final == 0 or (particle.startswith("로") and final == 8)  # ㄹ counts as open before 로
    return True


@lru_cache(maxsize=1)
def _kiwi() -> Any:
    try:
        import kiwipiepy
    except ImportError:
        return None
    return kiwipiepy


@lru_cache(maxsize=1)
def _analyser() -> Any:
    return _kiwi().Kiwi()


def _morphemes(text: str) -> Iterator[str]:
    return (token.form for token in _analyser().tokenize(text))
