"""Which questions count as the same."""

from __future__ import annotations

import pytest

from nuguna.data.conversation import TEXT, Conversation, Turn
from nuguna.data.similar import Alike, content_key, question_key


def asked(question: str, answer: str = "x") -> Conversation:
    return Conversation((Turn("user", question), Turn("assistant", answer)), "f", 1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is asthma?", "what is  ASTHMA"),
        ("What is asthma?", "Please, what is the asthma ?!"),
        ("고혈압의 증상은 무엇인가요?", "고혈압 증상이 뭐예요"),
        ("고혈압의 증상은 무엇인가요?", "증상은 고혈압에 무엇인가요"),
        ("가\u0301나다", "가\u0301나다!"),
        ("\u1100\u1161\u1102\u1161다라", "가나다라"),  # Hangul taken apart, as macOS writes it
    ],
)
def test_questions_of_the_same_words_are_the_same(a: str, b: str) -> None:
    assert question_key(asked(a)) == question_key(asked(b, "other"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is asthma?", "What is measles?"),
        ("What is asthma?", "Who has asthma?"),
        ("고혈압의 증상은?", "고혈압의 원인은?"),
        ("3번 약은?", "4번 약은?"),
        ("?", "!"),
    ],
)
def test_other_questions_are_not(a: str, b: str) -> None:
    assert question_key(asked(a)) != question_key(asked(b))


def test_the_system_does_not_ask_and_earlier_rounds_do() -> None:
    rounds = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d"))
    system = Conversation((Turn("system", "s"), *rounds), "f", 1)
    assert question_key(system) == question_key(Conversation(rounds, "g", 2)) != question_key(asked("c", "d"))
    assert content_key(system) != content_key(Conversation(rounds, "g", 2)) == content_key(Conversation(rounds, "f", 1))
    assert question_key(Conversation((Turn(TEXT, "a b"),), "f", 1)) != question_key(Conversation((Turn(TEXT, "b a"),), "f", 1))


@pytest.mark.parametrize(
    ("question", "is_alike"),
    [
        ("What are the symptoms of asthma?", True),
        ("What are the symptoms of astma?", True),  # left out
        ("What are the symptoms of asthmaa?", True),  # put in
        ("Whet are the symptoms of asthma?", True),  # replaced
        ("Whet are the symptoms of astma?", False),  # two slips
        ("What are the symptoms of angina?", False),
        ("What is the dose of drug 13 for adults?", True),
        ("What is the dose of drug 14 for adults?", False),  # a digit is no slip
        ("What is the dose of drug 133 for adults?", False),
        ("", False),
    ],
)
def test_one_slip_of_a_letter_is_found(question: str, is_alike: bool) -> None:
    known = ["What are the symptoms of asthma?", "What is the dose of drug 13 for adults?", "short?", ""]
    assert Alike(known).finds(question) == is_alike
