"""How people ask about a condition, and how it is answered.

`ASKED` is what training sees, `UNSEEN` what it never sees: the first held-out part asks with `UNSEEN` only.
Each aspect has one answer pattern a language, which restates the subject of the question.
"""

from __future__ import annotations

from .wording import English, Korean, english_list, korean_list

ASKED: dict[tuple[str, str], tuple[str, ...]] = {
    ("definition", "ko"): (
        "{x:이란} 무엇인가요?",
        "{x:은} 어떤 병인가요?",
        "{x:이} 뭐예요?",
        "의학에서 {x:이란}",
        "{x:을} 쉽게 설명해 주세요.",
        "{x}의 뜻을 알려 주세요.",
        "{x:은} 무슨 질환인가요?",
    ),
    ("symptoms", "ko"): (
        "{x}의 증상은 무엇인가요?",
        "의학에서 {x}의 증상은",
        "{x:이} 있으면 어떤 증상이 나타나나요?",
        "{x}의 주요 증상을 알려 주세요.",
        "{x} 증상이 궁금해요.",
        "{x} 환자에게 흔한 증상은 무엇인가요?",
        "{x:이} 생기면 몸에 어떤 증상이 오나요?",
    ),
    ("causes", "ko"): (
        "{x}의 원인은 무엇인가요?",
        "의학에서 {x}의 원인은",
        "{x:은} 왜 생기나요?",
        "{x}의 위험 요인을 알려 주세요.",
        "{x:이} 생기는 원인이 궁금해요.",
        "무엇 때문에 {x:이} 생기나요?",
        "어떤 사람이 {x}에 걸리기 쉬운가요?",
    ),
    ("diagnosis", "ko"): (
        "{x:은} 어떻게 진단하나요?",
        "의학에서 {x}의 진단은",
        "{x} 진단에는 어떤 검사가 필요한가요?",
        "{x}의 진단 방법을 알려 주세요.",
        "{x:을} 확인하려면 무슨 검사를 받나요?",
        "병원에서는 {x:을} 어떻게 알아내나요?",
        "{x} 검사에는 무엇이 있나요?",
    ),
    ("treatment", "ko"): (
        "{x:은} 어떻게 치료하나요?",
        "의학에서 {x}의 치료는",
        "{x}의 치료 방법은 무엇인가요?",
        "{x} 치료법을 알려 주세요.",
        "{x}에는 어떤 치료를 하나요?",
        "{x:을} 고치려면 어떻게 해야 하나요?",
        "{x} 환자는 어떤 치료를 받나요?",
    ),
    ("prevention", "ko"): (
        "{x:은} 어떻게 예방하나요?",
        "의학에서 {x}의 예방은",
        "{x}의 예방 방법은 무엇인가요?",
        "{x} 예방법을 알려 주세요.",
        "{x:을} 막으려면 어떻게 해야 하나요?",
        "{x} 예방에 도움이 되는 것은 무엇인가요?",
        "{x:을} 피하려면 무엇을 해야 하나요?",
    ),
    ("see_doctor", "ko"): (
        "{x:은} 언제 병원에 가야 하나요?",
        "의학에서 {x} 환자가 병원에 가야 할 때는",
        "{x}일 때 언제 의사를 만나야 하나요?",
        "{x}에서 위험한 신호는 무엇인가요?",
        "{x} 때문에 병원에 가야 하는 경우를 알려 주세요.",
        "{x:이} 있을 때 어떤 신호가 보이면 진료를 받아야 하나요?",
        "{x} 환자가 바로 병원에 가야 할 때는 언제인가요?",
    ),
    ("definition", "en"): (
        "What is {x}?",
        "Can you explain {x}?",
        "What kind of disease is {x}?",
        "Define {x}.",
        "Tell me what {x:is}.",
        "What does {x} mean?",
    ),
    ("symptoms", "en"): (
        "What are the symptoms of {x}?",
        "What symptoms does {x} cause?",
        "Tell me the main symptoms of {x}.",
        "Which symptoms are common in {x}?",
        "What are typical signs of {x}?",
        "How does {x} feel, and what symptoms appear?",
    ),
    ("causes", "en"): (
        "What causes {x}?",
        "What are the causes of {x}?",
        "What are the risk factors for {x}?",
        "Why do people get {x}?",
        "Tell me the causes of {x}.",
        "Who is at risk of {x}?",
    ),
    ("diagnosis", "en"): (
        "How is {x} diagnosed?",
        "Which tests are used to diagnose {x}?",
        "What tests are needed for {x}?",
        "Tell me how doctors diagnose {x}.",
        "What does the diagnosis of {x} involve?",
        "How do doctors find {x}?",
    ),
    ("treatment", "en"): (
        "How is {x} treated?",
        "What are the treatments for {x}?",
        "What is the treatment of {x}?",
        "Tell me the treatment options for {x}.",
        "Which treatment helps {x}?",
        "How do doctors treat {x}?",
    ),
    ("prevention", "en"): (
        "How can {x} be prevented?",
        "How can I prevent {x}?",
        "What helps to prevent {x}?",
        "Tell me how to prevent {x}.",
        "What lowers the risk of {x}?",
        "What does the prevention of {x} involve?",
    ),
    ("see_doctor", "en"): (
        "When should I see a doctor about {x}?",
        "With {x}, when should I go to a hospital?",
        "What are the warning signs of {x}?",
        "Which signs of {x} need medical attention?",
        "Tell me when {x} needs a doctor.",
        "When is it time to see a doctor for {x}?",
    ),
}  # fmt: skip

UNSEEN: dict[tuple[str, str], tuple[str, ...]] = {
    ("definition", "ko"): ("{x:이라}는 병은 무엇을 말하나요?", "{x:이} 어떤 질환인지 말해 주세요.", "{x}의 정의는 무엇인가요?"),
    ("symptoms", "ko"): ("{x}의 대표적인 증상을 말해 주세요.", "{x:은} 어떤 증상으로 나타나나요?", "{x:을} 앓으면 증상이 어떤가요?"),
    ("causes", "ko"): ("{x:을} 일으키는 원인은 무엇인가요?", "{x:이} 발생하는 이유를 말해 주세요.", "{x}의 원인으로는 무엇이 있나요?"),
    ("diagnosis", "ko"): ("{x:을} 진단할 때 무슨 검사를 하나요?", "{x:은} 무엇으로 진단하나요?", "{x} 진단 검사를 말해 주세요."),
    ("treatment", "ko"): ("{x} 치료에는 무엇이 있나요?", "{x:은} 무엇으로 치료하나요?", "{x:을} 치료하는 방법을 말해 주세요."),
    ("prevention", "ko"): ("{x:을} 예방하려면 무엇을 해야 하나요?", "{x} 예방에는 무엇이 좋은가요?", "{x:을} 예방하는 방법을 말해 주세요."),
    ("see_doctor", "ko"): ("{x:이} 의심될 때 병원에 빨리 가야 하는 경우는 언제인가요?", "{x} 환자는 어떤 때 의사를 찾아야 하나요?", "{x}에서 병원에 가야 하는 신호를 말해 주세요."),
    ("definition", "en"): ("What exactly is {x}?", "Please explain what {x:is}.", "What is meant by {x}?"),
    ("symptoms", "en"): ("Which symptoms does a person with {x} have?", "Name the symptoms of {x}.", "What symptoms are seen in {x}?"),
    ("causes", "en"): ("What can cause {x}?", "Name the causes of {x}.", "What leads to {x}?"),
    ("diagnosis", "en"): ("How can {x} be diagnosed?", "Name the tests used for {x}.", "How do doctors make the diagnosis of {x}?"),
    ("treatment", "en"): ("How can {x} be treated?", "Name the treatments of {x}.", "What treatment is given for {x}?"),
    ("prevention", "en"): ("What can be done to prevent {x}?", "Name ways to prevent {x}.", "How do people prevent {x}?"),
    ("see_doctor", "en"): ("When does {x} require a doctor?", "Name the warning signs of {x}.", "When should someone with {x} go to a doctor?"),
}  # fmt: skip

_ANSWERS: dict[tuple[str, str], str] = {
    ("symptoms", "ko"): "{x}의 주요 증상은 {list}입니다.",
    ("causes", "ko"): "{x}의 원인이나 위험 요인으로는 {list:이} 있습니다.",
    ("diagnosis", "ko"): "{x}의 진단에는 {list:이} 쓰입니다.",
    ("treatment", "ko"): "{x}의 치료 방법으로는 {list:이} 있습니다.",
    ("prevention", "ko"): "{x}의 예방과 관리에는 {list:이} 도움이 됩니다.",
    ("see_doctor", "ko"): "{x}의 경우 {list:이} 있으면 빨리 병원에 가고, 위급하면 119에 전화해야 합니다.",
    ("symptoms", "en"): "The main symptoms of {x} are {list}.",
    ("causes", "en"): "The causes and risk factors of {x} include {list}.",
    ("diagnosis", "en"): "The diagnosis of {x} relies on {list}.",
    ("treatment", "en"): "The treatment of {x} includes {list}.",
    ("prevention", "en"): "The prevention and management of {x} includes {list}.",
    (
        "see_doctor",
        "en",
    ): "In the case of {x}, see a doctor soon if there is {list:or}, and call an ambulance in an emergency.",
}


class _EnglishTerms(tuple[str, ...]):
    """Terms for a template: `{list}` joins with and, `{list:or}` with or."""

    def __format__(self, spec: str) -> str:
        return english_list(self, spec or "and")


def subject(name: str, lang: str, plural: bool = False) -> str:
    """Return the name as templates want it."""
    return Korean(name) if lang == "ko" else English(name, plural)


def answer(aspect: str, lang: str, name: str, terms: tuple[str, ...], plural: bool = False) -> str:
    """Return the answer sentence: subject restated, then the terms in their order."""
    x = subject(name, lang, plural)
    if aspect == "definition":
        if lang == "ko":
            clause, noun = terms
            return f"{x:은} {clause} {noun}입니다."
        noun, clause = terms
        return f"{x:cap+is} {noun} in which {clause}."
    words = korean_list(terms) if lang == "ko" else _EnglishTerms(terms)
    return _ANSWERS[aspect, lang].format(x=x, list=words)
