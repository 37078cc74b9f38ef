"""An invented world: plant blights, machines, creatures and towns that do not exist, with facts drawn from
`world.toml`.

The demo model reads statements about them and dialogues that ask about them. So it learns what a question is
and how an answer restates its subject, without ever being asked about medicine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from .facts import LANGUAGES

# syllables that read the same in both languages: an invented name is spelled in Hangul and in Latin letters
# at once
_SYLLABLES = (
    "가ga 나na 다da 라ra 마ma 바ba 사sa 아a 자ja 카ka 타ta 파pa 하ha 고go 노no 도do 로ro 모mo 보bo 소so 오o 조jo 코ko 토to 포po "
    "구gu 누nu 두du 루ru 무mu 부bu 수su 우u 주ju 쿠ku 투tu 푸pu 기gi 니ni 디di 리ri 미mi 비bi 시si 이i 지ji 키ki 티ti 피pi 히hi "
    "네ne 데de 레re 메me 베be 세se 에e 제je 케ke 테te 페pe 간gan 난nan 단dan 란ran 만man 반ban 산san 잔jan 칸kan 탄tan "
    "골gol 놀nol 돌dol 몰mol 볼bol 솔sol 졸jol 콜kol 톨tol 멘men 벤ben 덴den 켄ken 텐ten 렌ren 림rim 심sim 딤dim 빔bim 짐jim"
).split()


@dataclass(frozen=True)
class Thing:
    """One invented thing: names, and for each aspect and language a list of terms."""

    kind: str
    names: dict[str, str]
    terms: dict[
        tuple[str, str], tuple[str, ...]
    ]  # (aspect, language) → terms; "definition" is a pair as in facts
    asked: frozenset[str]  # aspects that dialogues ask about; the others are only stated


def relations(kind: str, aspect: str, lang: str) -> tuple[str, ...]:
    """Return the nouns by which an aspect is called: ('증상', '주요 증상')."""
    return tuple(_WORLD[kind]["aspects"][aspect][lang])


def make_world(rng: random.Random, num_things: int) -> list[Thing]:
    """`num_things` things with distinct names, kinds in turn."""
    names: set[str] = set()
    kinds = ("blight", "machine", "blight", "creature", "machine", "blight", "town")
    return [_make_thing(rng, kinds[i % len(kinds)], _new_name(rng, names)) for i in range(num_things)]


def _new_name(rng: random.Random, used: set[str]) -> tuple[str, str]:
    while True:
        parts = rng.choices(_SYLLABLES, k=rng.choice((2, 3, 3)))
        hangul, latin = "".join(p[0] for p in parts), "".join(p[1:] for p in parts).capitalize()
        if hangul not in used and latin.lower() not in used:
            used |= {hangul, latin.lower()}
            return hangul, latin


def _make_thing(rng: random.Random, kind: str, name: tuple[str, str]) -> Thing:
    block = _WORLD[kind]
    form = rng.randrange(len(block["ko"]))
    names = {lang: block[lang][form].format(n=n) for lang, n in zip(LANGUAGES, name, strict=True)}
    clause, noun = rng.randrange(len(block["definition"]["ko"])), rng.randrange(len(block["nouns"]["ko"]))
    terms: dict[tuple[str, str], tuple[str, ...]] = {
        ("definition", "ko"): (block["definition"]["ko"][clause], block["nouns"]["ko"][noun]),
        ("definition", "en"): (block["nouns"]["en"][noun], block["definition"]["en"][clause]),
    }
    for aspect, entry in block["aspects"].items():
        drawn = [term.split(" | ") for term in rng.sample(entry["terms"], k=rng.choice((3, 3, 3, 2)))]
        for i, lang in enumerate(LANGUAGES):
            terms[aspect, lang] = tuple(pair[i] for pair in drawn)
    aspects = sorted({aspect for aspect, _ in terms})
    asked = frozenset(a for a in aspects if rng.random() < 0.75)
    return Thing(kind, names, terms, asked)


_WORLD: dict[str, Any] = tomlkit.parse(
    (Path(__file__).parent / "world.toml").read_text(encoding="utf-8")
).unwrap()
