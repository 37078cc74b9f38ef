"""Multiple choice: which columns hold the options of a question, and which of them an answer names.

An answer may be the text of an option, its mark (B, 나, ②, 2번) or its number. People count from 0 or from 1,
and a wrong guess would train wrong answers without a sign; so the first rows are asked, and what they do not
tell is said.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...message import Message, say
from ..files.columns import ANSWERS, plain
from ..files.json_list import load_json
from ..files.rows import Row

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KOREAN, _CIRCLED = "가나다라마바사아자차", "①②③④⑤⑥⑦⑧⑨⑩"
_PLACES = {mark: place for marks in (LETTERS.lower(), _KOREAN, _CIRCLED) for place, mark in enumerate(marks)}
# one column for all options
_LISTS = ("choices", "options", "endings", "alternatives", "candidates", "보기", "선택지", "선지")
# a column for each: what stands before its mark, and with which marks it goes on
_LETTERED, _FROM_ZERO, _FROM_ONE = (
    LETTERS[:10].lower(),
    "0123456789",
    ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"),
)
_STEMS = (
    "option",
    "choice",
    "opt",
    "answer",
    "ending",
    "alternative",
    "candidate",
    "sol",
    "보기",
    "선택지",
    "선지",
)
_SERIES: tuple[tuple[str, Sequence[str]], ...] = (
    *((stem, marks) for stem in _STEMS for marks in (_LETTERED, _FROM_ZERO, _FROM_ONE, _CIRCLED, _KOREAN)),
    ("op", _LETTERED),
    *(("", marks) for marks in (_LETTERED, _FROM_ONE, _CIRCLED, _KOREAN)),
)
# what says which option is right; the last are that only where no other column could be the answer: a label
# may be a subject
_MARKED = (
    "answerkey answeridx answerindex correctoption correctindex correctanswerindex goldindex cop 정답번호"
).split()
_TOLD = "answer correctanswer correct gold 정답 답 답변".split()
_LABELS = ("label", "target")
_ASKED = (
    *"question questionstem stem query q prompt instruction problem 질문 문제 발문 질의 지시문".split(),
    *"ctx goal startphrase sentence sent1 premise".split(),
)
_BESIDE = "context passage paragraph article premise 지문 본문 맥락 input 입력".split()
_LEAST, _MOST = 2, len(LETTERS)
# (B) · B. · ② · 2번 · 2), and perhaps the text behind it
_MARK = re.compile(
    rf"[(\[]?\s*(?P<mark>[A-Za-z{_KOREAN}{_CIRCLED}]|\d{{1,2}})(?P<is_place>번)?\s*[)\].:]{{0,2}}\s*(?P<text>.*)",
    re.DOTALL,
)
_OWN_MARK = re.compile(
    rf"[(\[]?(?:([A-Za-z{_KOREAN}])[)\].:]+|([{_CIRCLED}])|(\d{{1,2}})(?:[)\]:]+|\.(?!\d)|번\s))\s*(?=\S)"
)
_INNER = re.compile(rf"[{_CIRCLED}]")


@dataclass(frozen=True)
class Option:
    """A possible answer; `label` is what the dataset itself calls it, "" if nothing."""

    text: str
    label: str = ""


@dataclass(frozen=True)
class Options:
    """Where the options of a table stand, and how its answers name them."""

    question: str
    context: str
    columns: tuple[str, ...]  # one that holds all, or one for each
    answer: str
    counts_from: int = 0  # of a number in the answer: the first option is 0 or 1
    is_text_first: bool = True  # an answer that is an option's text and another's mark means the text
    # "rows": the first rows tell from where is counted; "habit": they do not; "": nothing is counted
    counts_by: str = ""


def find_options(rows: Sequence[Row], by_name: Mapping[str, str]) -> Options | None:
    """Return the columns of multiple choice, None if a table has none; `by_name` are its columns by their
    plain names.
    """
    for columns in _candidates(by_name):
        rest = {name: column for name, column in by_name.items() if column not in columns}
        question = _first_with(rest, _ASKED, rows) or _first_with(rest, ("context", "text"), rows)
        if not question:
            continue
        context = _first_with(
            {name: column for name, column in rest.items() if column != question}, _BESIDE, rows
        )
        fitted = [
            _fitted(Options(question, context, columns, answer), rows) for answer in _answers(rest, question)
        ]
        if found := sorted(
            filter(None, fitted), key=lambda options: options.counts_by == "habit"
        ):  # a letter beside it leaves no doubt
            return found[0]
    return None


def _candidates(by_name: Mapping[str, str]) -> Iterable[tuple[str, ...]]:
    yield from ((by_name[name],) for name in _LISTS if name in by_name)
    for stem, marks in _SERIES:
        columns = []
        for mark in marks:
            if stem + mark not in by_name:
                break
            columns.append(by_name[stem + mark])
        if len(columns) >= _LEAST:
            yield tuple(columns)


def _first_with(by_name: Mapping[str, str], names: Iterable[str], rows: Sequence[Row]) -> str:
    """Return the first of these columns that holds text."""
    there = (by_name[name] for name in names if name in by_name)
    return next(
        (column for column in there if any(isinstance(row.values.get(column), str) for row in rows)), ""
    )


def _answers(by_name: Mapping[str, str], question: str) -> list[str]:
    names = [*_MARKED, *_TOLD]
    if not any(name in by_name for name in (*_TOLD, *ANSWERS)):
        names += _LABELS
    return [by_name[name] for name in names if name in by_name and by_name[name] != question]


def _fitted(options: Options, rows: Sequence[Row]) -> Options | None:
    """Return how the answers of these rows are meant; None if half of them name no option."""
    pairs = [(row.values.get(options.answer), options_of(row.values, options.columns)) for row in rows]
    known = [(value, given) for value, given in pairs if not isinstance(given, Message)]
    if not known or 2 * len(known) < len(rows):
        return None
    told = [(value, given) for value, given in known if _is_told(value)]
    from_zero, from_one = (
        sum(_by_mark(value, given, start) is not None for value, given in told) for start in (0, 1)
    )
    is_counted = any(_is_number(value) and _by_label(str(value), given) is None for value, given in told)
    has_zero = any(_is_number(value) and str(value).strip() in ("0", "0.0") for value, _ in told)
    is_sure = has_zero or from_zero != from_one
    start = int(from_one > from_zero) if is_sure else _customary(options)
    by_text = sum(_by_text(value, given) is not None for value, given in told)
    by_mark = max(from_zero, from_one)
    is_text_first = by_text > by_mark or (
        by_text == by_mark and all(isinstance(value, str) for value, _ in told)
    )
    read = replace(options, counts_from=start, is_text_first=is_text_first)
    places = [place_of(value, given, counts_from=start, is_text_first=is_text_first) for value, given in told]
    if 2 * sum(place is not None for place in places) < len(told):
        return None
    counts = is_counted and not (is_text_first and by_text == len(told))
    return replace(read, counts_by=("rows" if is_sure else "habit") if counts else "")


def _is_told(value: object) -> bool:
    """Return whether it is said at all which option is right: parts for testing hold -1 or nothing."""
    return value not in (None, "", -1, "-1") and value == value  # not NaN


def _customary(options: Options) -> int:
    """Return where people begin to count: lists of programs at 0 (MMLU), printed questions at 1 (KMMLU,
    Korean sheets).
    """
    first, answer = plain(options.columns[0]), plain(options.answer)
    if answer == "cop":  # MedMCQA, as it is on the hub
        return 0
    is_list = len(options.columns) == 1 or first.endswith("0")
    return int(not is_list or any("가" <= char <= "힣" for char in first + answer))


def options_of(values: Mapping[str, Any], columns: Sequence[str]) -> tuple[Option, ...] | Message:
    """Return the options of one row, or what is wrong with them."""
    cells = [values.get(column) for column in columns]
    made = _from_cell(cells[0]) if len(columns) == 1 else [Option(_text(cell)) for cell in cells]
    while made and not made[-1].text:  # a question with fewer options than others
        made = made[:-1]
    if not all(option.text for option in made):
        return say("one of the options is empty")
    if len(made) < _LEAST:
        return say("there are fewer than two options in {columns}", columns=", ".join(columns))
    return tuple(made) if len(made) <= _MOST else say("there are more than {count} options", count=_MOST)


def _text(value: object) -> str:
    return "" if value is None or value != value or isinstance(value, (list, dict)) else str(value).strip()


def _from_cell(value: object) -> list[Option]:
    """Return all options of one cell: a list, an object of labels and texts, or a text that holds one of
    these, or marks.
    """
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, dict):
        texts, labels = value.get("text"), value.get("label")
        if isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels):
            return [Option(_text(text), _text(label)) for text, label in zip(texts, labels, strict=True)]
        is_marked = all(
            isinstance(key, str) and (key.strip().lower() in _PLACES or key.strip().isdecimal())
            for key in value
        )
        return [Option(_text(text), key.strip()) for key, text in value.items()] if is_marked else []
    if not isinstance(value, list):
        return []
    if all(isinstance(item, dict) and "text" in item for item in value):
        return [Option(_text(item["text"]), _text(item.get("label"))) for item in value]
    return _without_marks([Option(_text(item)) for item in value])


def _from_text(text: str) -> list[Option]:
    if text[:1] in ("[", "{"):
        for read in (load_json, ast.literal_eval):  # as CSV files hold JSON, and as Python writes its lists
            try:
                value = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
            return _from_cell(value) if isinstance(value, (list, dict)) else []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(_INNER.findall(text)) >= _LEAST and text[0] in _CIRCLED:  # ① 물 ② 불
        lines = [part for part in re.split(rf"(?=[{_CIRCLED}])", text) if part]
    return _without_marks([Option(line) for line in lines])


def _without_marks(options: list[Option]) -> list[Option]:
    """Return options that bring their own marks in order (A) … B) …, ① … ② …) without these; ours come before
    them.
    """
    found = [_OWN_MARK.match(option.text) for option in options]
    places = [_place_of_mark(match) if match else None for match in found]
    if places != list(range(len(options))):
        return options
    return [
        Option(option.text[match.end() :].strip())
        for option, match in zip(options, found, strict=True)
        if match
    ]


def _place_of_mark(match: re.Match[str]) -> int:
    mark = match[1] or match[2]
    return _PLACES[mark.lower()] if mark else int(match[3]) - 1


def place_of(value: object, given: Sequence[Option], *, counts_from: int, is_text_first: bool) -> int | None:
    """Return which option an answer names, from 0; None if none."""
    ways: tuple[Callable[[], int | None], ...] = (
        lambda: _by_text(value, given),
        lambda: _by_mark(value, given, counts_from),
    )
    return next(
        (place for way in (ways if is_text_first else ways[::-1]) if (place := way()) is not None), None
    )


def _by_text(value: object, given: Sequence[Option]) -> int | None:
    return (
        None
        if isinstance(value, (list, dict))
        else _index(_alike(_text(value)), [_alike(option.text) for option in given])
    )


def _by_label(text: str, given: Sequence[Option]) -> int | None:
    return _index(text.lower(), [option.label.lower() for option in given])


def _index(text: str, texts: Sequence[str]) -> int | None:
    return texts.index(text) if text and text in texts else None


def _alike(text: str) -> str:
    return " ".join(text.split()).casefold()


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().isdecimal()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _by_mark(value: object, given: Sequence[Option], counts_from: int) -> int | None:
    """Return the option that has this label, letter, sign or number."""
    if isinstance(value, (bool, list, dict)) or value is None or value != value:
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if (labelled := _by_label(text, given)) is not None:
        return labelled
    found = _MARK.fullmatch(text)
    if found is None:
        return None
    mark = found["mark"].lower()
    if mark.isdecimal():
        place = int(mark) - (1 if found["is_place"] else counts_from)
    elif (by_own := _by_label(mark, given)) is not None:
        place = by_own
    else:
        place = _PLACES[mark]
    if not 0 <= place < len(given):
        return None
    rest = found["text"].strip()
    return place if not rest or _alike(rest) == _alike(given[place].text) else None


def lettered(texts: Iterable[str]) -> tuple[str, ...]:
    """Return options as they stand below the question, and as the answer repeats one: letter and text."""
    return tuple(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))
