"""Korean particles and English lists: the small grammar that lets templates read naturally.

A template writes `{x:은}` and `Korean("고혈압")` chooses 은 or 는. `{x:로}` chooses 로 or 으로.
"""

from __future__ import annotations

from collections.abc import Sequence

# (form after a final consonant, form after a vowel), by any of the two spellings used in a template
_PAIRS = {
    "은": ("은", "는"), "는": ("은", "는"),
    "이": ("이", "가"), "가": ("이", "가"),
    "을": ("을", "를"), "를": ("을", "를"),
    "과": ("과", "와"), "와": ("과", "와"),
    "로": ("으로", "로"), "으로": ("으로", "로"),
    "이란": ("이란", "란"), "란": ("이란", "란"),
    "이라": ("이라", "라"), "이나": ("이나", "나"),
    "이다": ("이다", "다"),
}  # fmt: skip
_DIGIT_FINALS = {
    "0": "ㅇ",
    "1": "ㄹ",
    "3": "ㅁ",
    "6": "ㄱ",
    "7": "ㄹ",
    "8": "ㄹ",
}  # 영 일 삼 육 칠 팔 end in a consonant
_LETTER_FINALS = {"L": "ㄹ", "M": "ㅁ", "N": "ㄴ", "R": "ㄹ"}  # 엘 엠 엔 알
_RIEUL = 8  # index of ㄹ among the 28 finals of a Hangul syllable


def final_consonant(word: str) -> str:
    """'' after a vowel, 'ㄹ' after ㄹ, 'other' after any other consonant, as the word is read aloud in
    Korean.
    """
    last = word.rstrip(" )]}'\"”’")[-1:]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return "" if final == 0 else "ㄹ" if final == _RIEUL else "other"
    sound = _DIGIT_FINALS.get(last) or _LETTER_FINALS.get(last.upper(), "")
    return sound if sound in ("", "ㄹ") else "other"


def with_particle(word: str, particle: str) -> str:
    """Join a word and the fitting form of a particle: ('감기', '은') → '감기는'."""
    closed, opened = _PAIRS[particle]
    final = final_consonant(word)
    if closed == "으로":  # after ㄹ it is 로: 물로, 서울로
        return word + ("으로" if final == "other" else "로")
    return word + (closed if final else opened)


class Korean(str):
    """A Korean word for templates; the format spec is a particle."""

    def __format__(self, spec: str) -> str:
        return with_particle(str(self), spec) if spec else str(self)


class English(str):
    """An English name for templates: `{x:cap}` begins a sentence, `{x:is}` adds the right verb."""

    plural: bool

    def __new__(cls, text: str, plural: bool = False) -> English:
        word = super().__new__(cls, text)
        word.plural = plural
        return word

    def __format__(self, spec: str) -> str:
        text = str(self)
        for part in spec.split("+") if spec else ():
            if part == "cap":
                text = text[:1].upper() + text[1:]
            elif part == "is":
                text += " are" if self.plural else " is"
            else:
                raise ValueError(f"unknown format {part!r}")
        return text


def english_list(terms: Sequence[str], word: str = "and") -> str:
    """['a', 'b', 'c'] → 'a, b, and c'."""
    if len(terms) == 1:
        return terms[0]
    if len(terms) == 2:
        return f"{terms[0]} {word} {terms[1]}"
    return ", ".join(terms[:-1]) + f", {word} {terms[-1]}"


def korean_list(terms: Sequence[str]) -> Korean:
    """['두통', '발열'] → '두통, 발열'."""
    return Korean(", ".join(terms))
