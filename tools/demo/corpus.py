"""What the demo model reads: medical statements, statements and dialogues about invented things, shuffled by
a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .dialogues import make_dialogue
from .facts import ASPECTS, LANGUAGES, Condition
from .questions import subject
from .statements import MEDICAL, MEDICAL_RELATIONS, state_definition, state_list
from .wording import English, Korean
from .world import Thing, relations

# share of documents by sort; measured choices are in docs/log.md
_SHARES = {"medicine": 0.56, "world": 0.20, "dialogue": 0.24}


def documents(seed: int, conditions: list[Condition], things: list[Thing]) -> Iterator[str]:
    """Yield an endless stream of short documents."""
    rng = random.Random(seed)
    sorts, weights = list(_SHARES), list(_SHARES.values())
    while True:
        sort = rng.choices(sorts, weights)[0]
        lang = rng.choice(LANGUAGES)
        if sort == "medicine":
            yield medical_document(rng, rng.choice(conditions), lang)
        elif sort == "world":
            yield world_document(rng, rng.choice(things), lang)
        else:
            yield make_dialogue(
                rng,
                rng.choice([t for t in (rng.choice(things), rng.choice(things)) if t.asked] or things[:1]),
                lang,
            )


def medical_document(rng: random.Random, condition: Condition, lang: str) -> str:
    """Return one to seven aspects of one condition, in any order, each in a wording of its own."""
    x = subject(condition.names[lang], lang, condition.plural)
    sentences = []
    for aspect in rng.sample(ASPECTS, k=rng.choice((1, 2, 3, 4, 7))):
        terms = condition.terms[aspect, lang]
        if aspect == "definition":
            sentences.append(state_definition(rng, lang, x, terms))
        else:
            relation = rng.choice(MEDICAL_RELATIONS[aspect, lang])
            sentences.append(state_list(rng, lang, x, relation, terms, MEDICAL[aspect, lang]))
    return _join(rng, x, sentences)


def world_document(rng: random.Random, thing: Thing, lang: str) -> str:
    """Return one to four aspects of one invented thing."""
    x = Korean(thing.names[lang]) if lang == "ko" else English(thing.names[lang])
    aspects = sorted({aspect for aspect, _ in thing.terms})
    sentences = []
    for aspect in rng.sample(aspects, k=min(len(aspects), rng.choice((1, 2, 3, 4)))):
        terms = thing.terms[aspect, lang]
        if aspect == "definition":
            sentences.append(state_definition(rng, lang, x, terms))
        else:
            sentences.append(state_list(rng, lang, x, rng.choice(relations(thing.kind, aspect, lang)), terms))
    return _join(rng, x, sentences)


def _join(rng: random.Random, title: str, sentences: list[str]) -> str:
    style = rng.random()
    if style < 0.15:
        return f"# {title}\n" + "\n".join(sentences)
    if style < 0.25:
        return "\n".join(f"- {sentence}" for sentence in sentences)
    return " ".join(sentences)
