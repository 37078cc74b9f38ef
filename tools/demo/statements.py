"""Encyclopedia-like wordings: the same fact said in many ways, in Korean and in English.

`{x}` is the subject, `{r}` the name of the relation (증상, symptoms), `{l}` the list of terms.
Statements never address a reader and never ask: that is what dialogues are for.
"""

from __future__ import annotations

import random

from .wording import English, Korean, english_list, korean_list

GENERIC: dict[str, tuple[str, ...]] = {
    "ko": (
        "{x}의 {r:은} {l:이다}.",
        "{x}의 {r:으로}는 {l:이} 있다.",
        "{x}에서 {r:을} 꼽자면 {l:이다}.",
        "{l:은} {x}의 {r}에 든다.",
        "{x}의 {r:으로} {l:을} 든다.",
        "{x} 항목에는 {r:으로} {l:이} 적혀 있다.",
        "{x}의 {r:을} 보면 {l:이} 나온다.",
        "흔히 {x}의 {r:은} {l:로} 알려져 있다.",
        "{x}: {r:은} {l}.",
        "{x}의 경우 {r:은} {l:이다}.",
        "{x}에 대해 말하자면 {r:은} {l:이다}.",
        "책에 따르면 {x}의 {r:은} {l:이다}.",
        "{l}. 이것이 {x}의 {r:이다}.",
        "{r}에 {l:이} 있으면 그것은 {x}에 관한 이야기이다.",
    ),
    "en": (
        "The {r} of {x} include {l}.",
        "The {r} of {x} are {l}.",
        "The {r} known for {x} are {l}.",
        "{x:cap}: the {r} are {l}.",
        "In the case of {x}, the {r} are {l}.",
        "Among the {r} of {x}, books list {l}.",
        "When it comes to {x}, the {r} include {l}.",
        "The entry on {x} gives {l} under {r}.",
        "For {x}, {l} are the {r}.",
        "{l:cap} belong to the {r} of {x}.",
        "{x:cap} has {l} among its {r}.",
        "It is written that the {r} of {x} are {l}.",
    ),
}

# how the aspects of a condition are called in running text
MEDICAL_RELATIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("symptoms", "ko"): ("증상", "주요 증상", "흔한 증상", "대표적인 증상"),
    ("causes", "ko"): ("원인", "위험 요인", "원인이나 위험 요인", "발병 원인"),
    ("diagnosis", "ko"): ("진단 방법", "진단 검사", "진단에 쓰이는 검사", "검사"),
    ("treatment", "ko"): ("치료 방법", "치료법", "치료", "주된 치료"),
    ("prevention", "ko"): ("예방과 관리 방법", "예방 방법", "예방과 관리", "예방과 관리에 도움이 되는 것"),
    ("see_doctor", "ko"): (
        "병원에 가야 하는 신호",
        "위험한 신호",
        "빨리 병원에 가야 하는 경우",
        "진료가 필요한 신호",
    ),
    ("symptoms", "en"): ("symptoms", "main symptoms", "common symptoms", "typical signs"),
    ("causes", "en"): ("causes", "risk factors", "causes and risk factors", "main causes"),
    ("diagnosis", "en"): ("diagnostic tests", "tests", "methods of diagnosis"),
    ("treatment", "en"): ("treatments", "treatment options", "usual treatments"),
    ("prevention", "en"): ("ways of prevention and management", "preventive measures", "preventive steps"),
    ("see_doctor", "en"): ("warning signs", "danger signs", "signs that need a doctor"),
}

MEDICAL: dict[tuple[str, str], tuple[str, ...]] = {
    ("symptoms", "ko"): ("{x:이} 있으면 {l:이} 나타난다.", "{l:은} {x:을} 앓는 사람에게 흔하다.", "{x:은} {l:로} 나타난다.", "{x} 환자는 {l:을} 겪는다."),
    ("causes", "ko"): ("{l:은} {x:을} 일으킬 수 있다.", "{x:은} {l} 때문에 생긴다.", "{l:이} 있으면 {x}에 걸리기 쉽다.", "{x:이} 생기는 이유는 {l:이다}."),
    ("diagnosis", "ko"): ("{x:은} {l:로} 진단한다.", "{x:을} 확인하려면 {l:이} 필요하다.", "병원에서는 {l:로} {x:을} 알아낸다.", "{x}의 진단에는 {l:을} 쓴다."),
    ("treatment", "ko"): ("{x:은} {l:로} 치료한다.", "{x} 환자는 {l:을} 받는다.", "{l:은} {x}의 치료에 쓰인다.", "{x:을} 고치는 데에는 {l:을} 쓴다."),
    ("prevention", "ko"): ("{l:은} {x:을} 예방하는 데 도움이 된다.", "{x:을} 막으려면 {l:이} 필요하다.", "{l:은} {x}의 예방과 관리에 쓰인다.", "{x} 예방을 다룬 책에는 {l:이} 나온다."),
    ("see_doctor", "ko"): ("{x} 환자에게 {l:이} 있으면 병원에 가야 한다.", "{l:은} {x}의 위험한 신호이다.", "{x}일 때 {l:은} 의사를 만나야 하는 신호이다.", "{x} 환자는 {l:이} 보이면 진료를 받아야 한다."),
    ("symptoms", "en"): ("{x:cap} causes {l}.", "People with {x} often have {l}.", "{l:cap} are common in {x}.", "{x:cap} shows itself by {l}."),
    ("causes", "en"): ("{l:cap} can lead to {x}.", "{x:cap} is linked to {l}.", "People get {x} because of {l}.", "The risk of {x} rises with {l}."),
    ("diagnosis", "en"): ("Doctors diagnose {x} with {l}.", "{l:cap} are used to diagnose {x}.", "The diagnosis of {x} rests on {l}.", "{x:cap} is found by {l}."),
    ("treatment", "en"): ("{x:cap} is treated with {l}.", "Doctors treat {x} with {l}.", "{l:cap} are used against {x}.", "The treatment of {x} consists of {l}."),
    ("prevention", "en"): ("{l:cap} help to prevent {x}.", "Books on the prevention of {x} mention {l}.", "{l:cap} help with the prevention and management of {x}.", "The prevention of {x} rests on {l}."),
    ("see_doctor", "en"): ("With {x}, {l} call for a doctor.", "{l:cap} are warning signs of {x}.", "A person with {x} needs a doctor in case of {l}.", "{x:cap} becomes dangerous when there is {l}."),
}  # fmt: skip

DEFINITIONS: dict[str, tuple[str, ...]] = {
    "ko": (
        "{x:은} {clause} {noun:이다}.",
        "{x:이란} {clause} {noun:을} 말한다.",
        "{clause} {noun:을} {x:이라}고 한다.",
        "{x}: {clause} {noun}.",
        "{x:은} {noun:으로}, {clause} 것이 특징이다.",
        "{clause} {noun:이} 바로 {x:이다}.",
    ),
    "en": (
        "{x:cap+is} {noun} in which {clause}.",
        "{x:cap} refers to {noun} in which {clause}.",
        "{x:cap}: {noun} in which {clause}.",
        "By {x} people mean {noun} in which {clause}.",
        "{noun:cap} in which {clause} is called {x}.",
    ),
}


def state_definition(rng: random.Random, lang: str, x: str, terms: tuple[str, ...]) -> str:
    """Return one sentence that says what `x` is."""
    template = rng.choice(DEFINITIONS[lang])
    if lang == "ko":
        return template.format(x=x, clause=terms[0], noun=Korean(terms[1]))
    return template.format(x=x, noun=English(terms[0]), clause=terms[1])


def state_list(
    rng: random.Random, lang: str, x: str, relation: str, terms: tuple[str, ...], own: tuple[str, ...] = ()
) -> str:
    """Return one sentence that gives the terms of a relation; `own` are wordings for this relation alone. One
    time in four in another order.
    """
    ordered = list(terms)
    if rng.random() < 0.25:
        rng.shuffle(ordered)
    template = rng.choice(own) if own and rng.random() < 0.5 else rng.choice(GENERIC[lang])
    if lang == "ko":
        return template.format(x=x, r=Korean(relation), l=korean_list(ordered))
    return template.format(x=x, r=English(relation, plural=True), l=English(english_list(ordered)))
