"""Questions with options, and which of them is right, in the ways in which people say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .case import Case, ready, refused, too_bad
from .shape import Shape
from .words import ENGLISH, KOREAN
from .write import jsonl, table

_DRUGS = (("나루정", "미리시럽", "가온캡슐", "솔빛연고"), ("냉장고", "옷장", "책상 위", "차 안"), ("물", "술", "커피", "우유"))
_ASKED = ("하루 두 번 먹는 약은?", "미리시럽은 어디에 두나요?", "약은 무엇과 먹나요?")
_RIGHT = (0, 3, 1)  # the first and the last occur, so that it is clear from where is counted
_KOREAN = list(zip(_ASKED, _DRUGS, _RIGHT, strict=True))
_NAMES = (("Narudin", "Mirisol", "Gaonex"), ("In the fridge", "In a car", "On a desk"), ("A doctor", "A friend", "Nobody"))
_ENGLISH = [(q, options, right) for (q, _), options, right in zip(ENGLISH, _NAMES, (0, 2, 1), strict=False)]


def _said(question: str, options: tuple[str, ...], right: int) -> list[tuple[str, str]]:
    listed = [f"{letter}. {option}" for letter, option in zip("ABCDE", options, strict=False)]
    return [("user", "\n".join([question, *listed])), ("assistant", listed[right])]


_FIRST, _FIRST_ENGLISH = _said(*_KOREAN[0]), _said(*_ENGLISH[0])


def shapes() -> Iterator[Shape]:
    for name, answers in _ways_to_answer():
        rows = [{"question": q, "choices": list(options), "answer": answers(options, right)} for q, options, right in _KOREAN]
        yield Shape(f"choices_{name}", rows, "question+choices+answer", _FIRST, kind="nested")
    yield from _hub()
    yield from _korean()
    yield from _columns()


def _ways_to_answer() -> Iterator[tuple[str, Any]]:
    yield "from_zero", lambda options, right: right
    yield "from_one", lambda options, right: right + 1
    yield "letters", lambda options, right: "ABCD"[right]
    yield "small_letters_in_brackets", lambda options, right: f"({'abcd'[right]})"
    yield "korean_letters", lambda options, right: "가나다라"[right]
    yield "circled", lambda options, right: "①②③④"[right]
    yield "texts", lambda options, right: options[right]
    yield "letters_and_texts", lambda options, right: f"{'ABCD'[right]}. {options[right]}"


def _hub() -> Iterator[Shape]:
    """As well-known datasets on the hub have them."""
    both = (["A", "B", "C"], ["1", "2", "3"], ["A", "B", "C"])
    rows: list[dict[str, Any]] = [
        {"id": f"q{n}", "question": q, "choices": {"text": list(options), "label": labels}, "answerKey": labels[right]}
        for n, ((q, options, right), labels) in enumerate(zip(_ENGLISH, both, strict=True))
    ]
    yield Shape("choices_arc", rows, "question+choices+answerKey", _FIRST_ENGLISH, kind="nested")
    rows = [
        {"question": q, "answer": options[right], "options": dict(zip("ABC", options, strict=True)), "answer_idx": "ABC"[right]}
        for q, options, right in _ENGLISH
    ]
    yield Shape("choices_medqa", rows, "question+options+answer_idx", _FIRST_ENGLISH, kind="nested")
    rows = [
        {
            "id": str(n),
            "question": q,
            **dict(zip(("opa", "opb", "opc", "opd"), options, strict=True)),
            "cop": right,
            "exp": "까닭",
        }
        for n, (q, options, right) in enumerate(_KOREAN)
    ]
    yield Shape("choices_medmcqa", rows, "question+opa…opd+cop", _FIRST, kind="alpaca")
    rows = [{"ind": n, "ctx": q, "endings": list(options), "label": str(right)} for n, (q, options, right) in enumerate(_ENGLISH)]
    yield Shape("choices_hellaswag", rows, "ctx+endings+label", _FIRST_ENGLISH, kind="nested")
    rows = [
        {"article": f"{passage} 그렇다.", "question": q, "options": list(options), "answer": "ABCD"[right]}
        for (q, options, right), (passage, _) in zip(_KOREAN, KOREAN, strict=False)
    ]
    first = [("user", f"{KOREAN[0][0]} 그렇다.\n\n{_FIRST[0][1]}"), _FIRST[1]]
    yield Shape("choices_race", rows, "question+article+options+answer", first, kind="nested")


def _korean() -> Iterator[Shape]:
    rows = [{"문제": q, "보기": list(options), "정답": right + 1} for q, options, right in _KOREAN]
    yield Shape("choices_korean", rows, "문제+보기+정답", _FIRST, kind="nested")
    rows = [
        {
            "문제": q,
            "보기": " ".join(f"{mark} {option}" for mark, option in zip("①②③④", options, strict=True)),
            "정답": "①②③④"[right],
        }
        for q, options, right in _KOREAN
    ]
    yield Shape("choices_korean_in_one_line", rows, "문제+보기+정답", _FIRST)
    rows = [
        {
            "질문": q,
            "선택지": "\n".join(f"{mark}) {option}" for mark, option in zip("가나다라", options, strict=True)),
            "답": "가나다라"[right],
        }
        for q, options, right in _KOREAN
    ]
    yield Shape("choices_korean_in_lines", rows, "질문+선택지+답", _FIRST)
    rows = [
        {"번호": n, "문제": q, **{f"보기{i}": option for i, option in enumerate(options, 1)}, "정답": f"{right + 1}번"}
        for n, (q, options, right) in enumerate(_KOREAN, 1)
    ]
    yield Shape("choices_korean_sheet", rows, "문제+보기1…보기4+정답", _FIRST)


def _columns() -> Iterator[Shape]:
    """Yield a column for each option."""
    for name, columns, answer, start in (
        ("kmmlu", "A B C D", "answer", 1),
        ("ending", "ending0 ending1 ending2 ending3", "label", 0),
        ("option", "option_a option_b option_c option_d", "answer", 0),
        ("choice", "choice1 choice2 choice3 choice4", "answer", 1),
        ("circled", "① ② ③ ④", "정답", 1),
    ):
        names = columns.split()
        rows = [{"question": q, **dict(zip(names, options, strict=True)), answer: right + start} for q, options, right in _KOREAN]
        yield Shape(f"choices_columns_{name}", rows, f"question+{names[0]}…{names[-1]}+{answer}", _FIRST)
    rows = [{"question": q, "A": "하나", "B": "둘", "C": "", "D": "", "answer": "AB"[n % 2]} for n, q in enumerate(_ASKED)]
    yield Shape("choices_columns_fewer", rows, "question+A…D+answer", _said(_ASKED[0], ("하나", "둘"), 0))


def cases() -> Iterator[Case]:
    """Yield what is wrong, and what only looks like multiple choice."""
    good = [{"question": q, "choices": list(options), "answer": right} for q, options, right in _KOREAN]
    for name, change, says in (
        ("index_too_large", {"answer": 7}, "answer does not match any of the 4 options"),
        ("index_below", {"answer": -1}, "answer does not match any of the 4 options"),
        ("letter_too_late", {"answer": "F"}, "answer does not match any of the 4 options"),
        ("other_text", {"answer": "간장"}, "answer does not match any of the 4 options"),
        ("no_answer", {"answer": None}, "answer is empty"),
        ("one_option", {"choices": ["물"], "answer": 0}, "fewer than two options"),
        ("no_options", {"choices": []}, "fewer than two options"),
        ("an_empty_option", {"choices": ["물", "", "불"]}, "one of the options is empty"),
        ("question_empty", {"question": ""}, "question is empty"),
    ):
        rows = [*good, {**good[0], **change}]
        yield too_bad(f"damage/choices/{name}.jsonl", jsonl(rows).encode(), 4, [(4, says)])
    columns = [{"question": q, **dict(zip("ABCD", options, strict=True)), "answer": right + 1} for q, options, right in _KOREAN]
    rows = [*columns, *columns, {**columns[0], "answer": 0}]  # two rows speak for 1, one for 0
    yield too_bad("damage/choices/zero_among_numbers_from_one.csv", table(rows).encode(), 7, [(8, "does not match any of the 4")])
    yield from _no_choices()


def _no_choices() -> Iterator[Case]:
    pairs = [{"question": q, "answer": a} for q, a in KOREAN[:3]]
    first = [("user", KOREAN[0][0]), ("assistant", KOREAN[0][1])]
    for name, more in (
        ("free_answers", {"choices": ["물", "불"]}),
        ("settings", {"options": {"temperature": "0.7", "seed": "1"}}),
        ("suggestions_and_subject", {"options": ["더 묻기", "끝내기"], "label": 1}),
        ("one_column_of_many", {"option_a": "물"}),
    ):
        rows = [{**pair, **more} for pair in pairs]
        yield ready(f"choices/none_{name}.jsonl", jsonl(rows).encode(), "question+answer", first, 3)
    rows = [{"question": q, "A": "물", "B": "불"} for q, _ in KOREAN[:3]]
    yield refused("choices/no_answer_column.csv", table(rows).encode(), "not clear")
    train = [{"question": q, "choices": list(options), "answer": right + 1} for q, options, right in _KOREAN]
    files = {"train.jsonl": jsonl(train).encode(), "test.jsonl": jsonl(train[:1]).encode()}
    yield ready("choices/counted_alike", files, "question+choices+answer", _FIRST, 3, format="jsonl", num_heldout=1)
