"""Which questions count as the same."""

from __future__ import annotations

import pytest

from nuguna.data.conversations.conversation import TEXT, Conversation, Turn
from nuguna.data.similar import Alike, beginnings, content_key, question_key


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


KNOWN = ["당뇨병 환자가 먹으면 안 되는 음식은 무엇인가요?", "What are the early warning signs of a heart attack in women?"]
_NAMES = (("고혈압", "measles"), ("천식", "mumps"), ("통풍", "asthma"), ("빈혈", "croup"), ("비염", "anemia"))
_FORMS = (
    *("{} 환자가 조심할 점은 무엇인가요?", "{} 환자가 먹으면 좋은 음식은?", "{} 약은 언제 먹으면 안 되나요?"),
    *("What are the usual treatments of {} in children?", "What are early symptoms of {}?", "Is {} a danger to women?"),
)
OTHERS = [form.format(name) for names in _NAMES for name in names for form in _FORMS]


@pytest.mark.parametrize(
    ("question", "is_alike"),
    [
        ("당뇨병 환자가 드시면 안 되는 음식은 뭐예요?", True),
        ("당뇨병 환자가 먹으면 좋은 음식은 무엇인가요?", False),
        ("천식 환자가 먹으면 안 되는 음식은 무엇인가요?", False),
        ("What are early warning signs of a heart attack for women?", True),
        ("What are the early warning signs of a stroke in men?", False),
        ("What are the usual treatments of a heart attack in women?", False),
    ],
)
def test_most_of_the_words_that_say_something_are_enough(question: str, is_alike: bool) -> None:
    assert Alike(KNOWN, OTHERS).finds(question) == is_alike


def test_another_number_is_another_question() -> None:
    alike = Alike(["How many tablets of drug 12 may an adult of 80 kg take a day?"], OTHERS)
    assert alike.finds("How many tablets of drug 12 may an adult of 80 kg take every day?")
    assert not alike.finds("How many tablets of drug 12 may an adult of 90 kg take every day?")


def test_the_beginnings_of_a_conversation_end_with_its_learned_answers() -> None:
    read = Turn("assistant", "b", is_trained=False)
    turns = (Turn("user", "a"), read, Turn("user", "c"), Turn("assistant", "d"), Turn("user", "e"), Turn("assistant", "f"))
    assert [len(part.turns) for part in beginnings(Conversation(turns, "f", 1))] == [4, 6]
