"""Questions and answers about the invented world, as plain text: never about medicine, never in a chat
template.
"""

from __future__ import annotations

import random

from .wording import Korean, english_list, korean_list
from .world import Thing, relations

_ASK: dict[str, tuple[str, ...]] = {
    "ko": (
        "{x}의 {r:은} 무엇인가요?",
        "{x}의 {r:을} 알려 주세요.",
        "{x}의 {r:이} 궁금해요.",
        "{x} {r:은} 뭐예요?",
        "{x}의 {r}에는 무엇이 있나요?",
        "{x}의 {r:을} 말해 주세요.",
        "{r:을} 알고 싶어요. {x}의 경우에요.",
        "{x:은} {r:이} 어떻게 되나요?",
        "{x}에는 어떤 {r:이} 있나요?",
        "{x}의 {r:은}",
    ),
    "en": (
        "What are the {r} of {x}?",
        "Tell me the {r} of {x}.",
        "Which {r} does {x} have?",
        "Name the {r} of {x}.",
        "What about the {r} of {x}?",
        "Can you list the {r} of {x}?",
        "I want to know the {r} of {x}.",
        "What {r} are known for {x}?",
    ),
}
# the shorter ways to ask about an ailment, of a plant or a machine
_ASK_AILMENT: dict[tuple[str, str], tuple[str, ...]] = {
    ("symptoms", "ko"): ("{x:이} 있으면 어떻게 되나요?", "{x:은} 어떻게 나타나나요?", "{x}에 어떤 증상이 보이나요?"),
    ("causes", "ko"): ("{x:은} 왜 생기나요?", "무엇이 {x:을} 일으키나요?", "{x:이} 생기는 이유가 뭐예요?"),
    ("diagnosis", "ko"): ("{x:은} 어떻게 알아내나요?", "{x:을} 확인하려면 무엇을 하나요?", "{x}에는 무슨 검사를 하나요?"),
    ("treatment", "ko"): ("{x:은} 어떻게 고치나요?", "{x:이} 생기면 무엇을 하나요?", "{x}에는 무엇을 쓰나요?"),
    ("prevention", "ko"): ("{x:을} 막으려면 어떻게 하나요?", "{x:을} 피하려면 무엇을 하나요?", "{x:은} 어떻게 예방하나요?"),
    ("see_expert", "ko"): ("{x:은} 언제 전문가를 불러야 하나요?", "{x}일 때 언제 도움을 청하나요?", "{x}에서 무엇이 위험한가요?"),
    ("symptoms", "en"): ("What does {x} look like?", "What happens with {x}?", "How does {x} show itself?"),
    ("causes", "en"): ("What causes {x}?", "Why does {x} appear?", "What leads to {x}?"),
    ("diagnosis", "en"): ("How is {x} found?", "How do people check for {x}?", "Which tests are used for {x}?"),
    ("treatment", "en"): ("How is {x} treated?", "What helps against {x}?", "How do people fix {x}?"),
    ("prevention", "en"): ("How can {x} be prevented?", "How do people avoid {x}?", "What helps to prevent {x}?"),
    ("see_expert", "en"): ("When does {x} need an expert?", "When is {x} dangerous?", "When should people get help with {x}?"),
}  # fmt: skip
_ASK_DEFINITION: dict[str, tuple[str, ...]] = {
    "ko": ("{x:이란} 무엇인가요?", "{x:은} 무엇인가요?", "{x:을} 설명해 주세요.", "{x:이} 뭐예요?", "{x}의 뜻을 말해 주세요.", "{x:은} 어떤 것인가요?"),
    "en": ("What is {x}?", "Explain {x}.", "What does {x} mean?", "Tell me about {x}.", "Define {x}.", "Can you explain {x}?"),
}  # fmt: skip
_REPLY: dict[str, tuple[str, ...]] = {
    "ko": ("{x}의 {r:은} {l}입니다.", "{x}의 {r:으로}는 {l:이} 있습니다.", "{x}의 경우 {r:은} {l}입니다."),
    "en": ("The {r} of {x} are {l}.", "The {r} of {x} include {l}.", "In the case of {x}, the {r} are {l}."),
}
_SPEAKERS: dict[str, tuple[tuple[str, str], ...]] = {
    "ko": (
        ("질문: ", "답: "),
        ("문: ", "답: "),
        ("손님: ", "주인: "),
        ("아이: ", "어른: "),
        ("Q. ", "A. "),
        ("- ", "→ "),
    ),
    "en": (
        ("Q: ", "A: "),
        ("Question: ", "Answer: "),
        ("Visitor: ", "Guide: "),
        ("Child: ", "Teacher: "),
        ("- ", "> "),
    ),
}


def make_dialogue(rng: random.Random, thing: Thing, lang: str) -> str:
    """Return one to four questions about one thing, each answered."""
    ask, reply = rng.choice(_SPEAKERS[lang])
    aspects = rng.sample(sorted(thing.asked), k=min(len(thing.asked), rng.choice((1, 1, 2, 3, 4))))
    turns = [_turn(rng, thing, aspect, lang) for aspect in aspects]
    return "\n".join(f"{ask}{question}\n{reply}{answer}" for question, answer in turns)


def _turn(rng: random.Random, thing: Thing, aspect: str, lang: str) -> tuple[str, str]:
    x = Korean(thing.names[lang]) if lang == "ko" else thing.names[lang]
    terms = thing.terms[aspect, lang]
    if aspect == "definition":
        question = rng.choice(_ASK_DEFINITION[lang]).format(x=x)
        if lang == "ko":
            return question, f"{x:은} {terms[0]} {terms[1]}입니다."
        return question, f"{x} is {terms[0]} in which {terms[1]}."
    relation: str = rng.choice(relations(thing.kind, aspect, lang))
    templates = _ASK[lang]
    if (aspect, lang) in _ASK_AILMENT and rng.random() < 0.4:
        templates = _ASK_AILMENT[aspect, lang]
    listed: str = korean_list(terms) if lang == "ko" else english_list(terms)
    if lang == "ko":
        relation = Korean(relation)
    question = rng.choice(templates).format(x=x, r=relation)
    return question, rng.choice(_REPLY[lang]).format(x=x, r=relation, l=listed)
