"""CSV, spreadsheets and Parquet that somebody saved in a hurry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow

from . import sheets
from .case import Case, ready, refused, too_bad
from .parquet import of_columns, of_table, parquet
from .sheets import Fault, Formula, xlsx, zipped
from .words import BOTH, KOREAN, numbered, turns
from .write import cells, jsonl, table

_PAIRS = BOTH[:4]
_ROWS = [{"question": q, "answer": a} for q, a in _PAIRS]
_TEXT = table(_ROWS)
_LINES = _TEXT.splitlines()
_SHAPE, _FIRST = "question+answer", turns(*_PAIRS[0])
_QUESTION = "How often is Narudin taken?"

# the second of four rows, on line 3, is replaced by one of these
_BROKEN = {
    "too_few": (_QUESTION, "1 columns where the header has 2"),
    "too_many": (f"{_QUESTION},yes,no", "3 columns where the header has 2"),
    "comma_without_quotes": (f"{_QUESTION},Twice a day, after meals", "3 columns where the header has 2"),
    "answer_empty": (f"{_QUESTION},", "answer is empty"),
    "answer_empty_quotes": (f'{_QUESTION},""', "answer is empty"),
    "answer_blank": (f"{_QUESTION}, \t\u3000", "answer is empty"),
    "question_empty": (",Twice a day", "question is empty"),
    "other_delimiter": (f"{_QUESTION};yes", "1 columns where the header has 2"),
}


def cases() -> Iterator[Case]:
    yield from _one_row()
    yield from _unclosed_quotes()
    yield from _quoting()
    yield from _bytes()
    yield from _headers()
    yield from _unclear()
    yield from _sheets()
    yield from _broken_sheets()
    yield from _parquet_values()
    yield from _parquet_columns()
    yield from _parquet_bytes()


def _one_row() -> Iterator[Case]:
    for name, (broken, says) in _BROKEN.items():
        text = "\n".join([*_LINES[:2], broken, *_LINES[3:], ""])
        yield too_bad(f"damage/csv/{name}.csv", text.encode(), 4, [(3, says)])
        if name.startswith("too"):
            tabs = "\n".join(["question\tanswer", "a\tb", broken.replace(",", "\t"), "c\td", "e\tf"])
            yield too_bad(f"damage/tsv/{name}.tsv", tabs.encode(), 4, [(3, says)])
    lines = ["question,answer", '"one', 'two","three', 'four"', _QUESTION, "a,b"]
    yield too_bad("damage/csv/line_after_texts_of_several_lines.csv", "\n".join(lines).encode(), 3, [(5, "1 columns")])
    excel = ["sep=;", "question;answer", "a;b", _QUESTION, "c;d"]
    yield too_bad("damage/csv/line_after_excels_first.csv", "\n".join(excel).encode(), 3, [(4, "1 columns")])
    other = ["question,answer", *(f"{q};{a}".replace(",", "") for q, a in _PAIRS)]
    bad = [(line, "1 columns") for line in range(2, 6)]
    yield too_bad("damage/csv/header_of_another_delimiter.csv", "\n".join(other).encode(), 4, bad)


def _unclosed_quotes() -> Iterator[Case]:
    """Yield a quote that is never closed must not swallow the rows below it."""
    plain = [line.replace('"', "").replace(", ", " ") for line in _LINES]
    for name, broken in (("answer", f'{_QUESTION},"Twice a day'), ("question", f'"{_QUESTION},Twice a day')):
        text = "\n".join([*plain[:2], broken, *plain[3:], ""])
        yield too_bad(f"damage/csv/unclosed_quote_in_{name}.csv", text.encode(), 4, [(3, "")])
        # here the quotes of the row below close it, and open another text
        text = "\n".join([*_LINES[:2], broken, *_LINES[3:], ""])
        yield too_bad(f"damage/csv/unclosed_quote_in_{name}_before_quotes.csv", text.encode(), 4, [(3, "")])
    lines = table([{"question": q, "answer": a} for q, a in numbered(150)]).splitlines()
    lines[140] = '140번 약은 몇 알?,"하루에 3알.'
    first = turns(*numbered(1)[0])
    yield ready("damage/csv/unclosed_quote_late.csv", "\n".join(lines).encode(), _SHAPE, first, 150, bad=[(141, "")])


def _quoting() -> Iterator[Case]:
    """Ways to quote that are not Excel's."""
    said = [("What does 'b.i.d.' mean?", "Twice a day, morning and evening."), ("And t.i.d.?", "Three times a day, that is.")]
    said.append(("And q.d.?", "Once a day, no more."))
    backslash = "".join('"{}","{}"\n'.format(q.replace("'", r"\""), a) for q, a in [("question", "answer"), *said])
    first = turns('What does "b.i.d." mean?', said[0][1])
    yield ready("csv/backslash_before_quotes.csv", backslash.encode(), _SHAPE, first, 3)
    single = "".join("'{}','{}'\n".format(q.replace("'", "''"), a) for q, a in [("question", "answer"), *said])
    yield ready("csv/single_quotes.csv", single.encode(), _SHAPE, turns(*said[0]), 3)
    blank = "question, answer\n" + "".join(f'"{q}", "{a}"\n' for q, a in said)
    yield ready("csv/blank_after_comma.csv", blank.encode(), _SHAPE, turns(*said[0]), 3)
    inches = [("How long is the needle?", 'It is 1.5" long'), ("And the other?", 'It is 2" long'), ("And this?", "Shorter")]
    plain = "question,answer\n" + "".join(f"{q},{a}\n" for q, a in inches)
    yield ready("csv/quotes_within_words.csv", plain.encode(), _SHAPE, turns(*inches[0]), 3)
    literal = [('"Narudin" is what?', "A drug."), ("Is Mirisol a syrup?", '"Yes", says the leaflet.'), ("Gaonex?", "Pills.")]
    tabs = "question\tanswer\n" + "".join(f"{q}\t{a}\n" for q, a in literal)
    yield ready("tsv/quotes_that_are_text.tsv", tabs.encode(), _SHAPE, turns(*literal[0]), 3)
    ends = _TEXT.replace("\n", ",,\n")
    yield ready("csv/commas_at_line_ends.csv", ends.encode(), _SHAPE, _FIRST, 4)
    decimal = "문제;정답\n" + "".join(f"{n},5 곱하기 2는?;{2 * n + 1},0\n" for n in range(4))
    yield ready("csv/decimal_commas.csv", decimal.encode(), "문제+정답", turns("0,5 곱하기 2는?", "1,0"), 4)


def _bytes() -> Iterator[Case]:
    """Yield bytes that are no text, in one row."""
    broken = _TEXT.encode().replace(b"Narudin is", b"Naru\xffdin is", 1)
    yield too_bad("damage/csv/bad_bytes.csv", broken, 4, [(3, "")])
    yield too_bad("damage/csv/bad_bytes.cr.csv", broken.replace(b"\n", b"\r"), 4, [(3, "")])
    cut = _TEXT.encode().replace("먹습니다".encode(), "먹습니다".encode()[:-1], 1)
    yield too_bad("damage/csv/half_a_syllable.csv", cut, 4, [(2, "")])
    half = _TEXT.replace("Narudin is", "Naru\ud83ddin is", 1)
    utf_16 = b"\xff\xfe" + half.encode("utf-16-le", "surrogatepass")
    yield too_bad("damage/csv/half_surrogate.utf-16.csv", utf_16, 4, [(3, "")])
    korean = table([{"question": q, "answer": a} for q, a in numbered(120)]).splitlines(keepends=True)
    mixed = b"".join(line.encode("cp949" if number == 60 else "utf-8") for number, line in enumerate(korean))
    first = turns(*numbered(1)[0])
    yield ready("damage/csv/one_row_in_cp949.csv", mixed, _SHAPE, first, 120, bad=[(61, "")])
    windows = table([{"question": q, "answer": a} for q, a in KOREAN]).encode("cp949")
    broken = windows.replace("두 번".encode("cp949"), b"\xff \xff", 1)
    yield too_bad("damage/csv/bad_bytes.cp949.csv", broken, 6, [(2, "")])


def _headers() -> Iterator[Case]:
    for suffix, delimiter in (("csv", ","), ("tsv", "\t")):
        head = delimiter.join(("question", "answer"))
        yield refused(f"damage/{suffix}/only_header.{suffix}", f"{head}\n".encode(), "no rows")
        yield refused(f"damage/{suffix}/only_header_and_blanks.{suffix}", f"{head}\n{delimiter}\n \n".encode(), "no rows")
    yield refused("damage/csv/only_delimiters.csv", b",\n,\n,\n", "no rows")
    yield refused("damage/csv/only_excels_first.csv", b"sep=;\n", "no rows")
    doubled = cells([("question", "answer", "answer"), *((q, a, "old") for q, a in _PAIRS)])
    yield ready("csv/doubled_name.csv", doubled.encode(), _SHAPE, _FIRST, 4)
    nameless = cells([("", "question", "answer"), *((str(n), *pair) for n, pair in enumerate(_PAIRS))])
    yield ready("csv/nameless_index.csv", nameless.encode(), _SHAPE, _FIRST, 4)
    capitals = cells([(" Question ", "ANSWER "), *_PAIRS])
    yield ready("csv/blanks_around_names.csv", capitals.encode(), "Question+ANSWER", _FIRST, 4)
    yield ready("csv/one_row.csv", cells([("question", "answer"), _PAIRS[0]]).encode(), _SHAPE, _FIRST, 1)


def _unclear() -> Iterator[Case]:
    """Tables of which nobody can know what to train on, until the user names the columns."""
    said = "not clear"
    tables = {
        "no_header": cells(_PAIRS),
        "symptom_and_treatment": cells([("symptom", "treatment"), ("cough", "syrup"), ("fever", "Narudin")]),
        "two_questions": cells([("prompt", "question", "reply"), ("a", "b", "c"), ("d", "e", "f")]),
        "two_answers": cells([("question", "reply", "bot"), ("a", "b", "c"), ("d", "e", "f")]),
        "title_and_content": cells([("title", "content"), ("Cough", "A cough is a symptom."), ("Fever", "A fever is one too.")]),
        "pictures": cells([("image", "class"), ("a.png", "cat"), ("b.png", "dog")]),
        "numbers": cells([("age", "weight"), ("3", "14"), ("4", "16")]),
        "only_questions": cells([("question",), ("a?",), ("b?",)]),
    }
    for name, text in tables.items():
        yield refused(f"unclear/{name}.csv", text.encode(), said)
    titled = "약에 대한 질문\n\n" + cells([("질문", "답변"), *KOREAN[:4]])
    yield ready("csv/title_above.csv", titled.encode(), "질문+답변", turns(*KOREAN[0]), 4)
    yield refused("unclear/captions.jsonl", jsonl([{"image": "a.png", "caption": "A pill."}] * 3).encode(), said)
    named = tables["symptom_and_treatment"].encode()
    facts: dict[str, Any] = {"columns": ["symptom", "treatment"]}
    yield ready("unclear/symptom_and_treatment_named.csv", named, "symptom+treatment", turns("cough", "syrup"), 2, **facts)
    facts = {"columns": ["content"]}
    content = tables["title_and_content"].encode()
    yield ready("unclear/content_named.csv", content, "content", [("text", "A cough is a symptom.")], 2, **facts)
    yield refused("unclear/named_wrongly.csv", named, "has no column", columns=["symptom", "cure"])


def _sheets() -> Iterator[Case]:
    head, pairs = ["질문", "답변"], [list(pair) for pair in KOREAN[:4]]
    facts: dict[str, Any] = {"encoding": ""}
    empty = xlsx([head, pairs[0], [pairs[1][0], None], *pairs[2:]])
    yield too_bad("damage/xlsx/answer_empty.xlsx", empty, 4, [(3, "답변 is empty")])
    blank = xlsx([head, pairs[0], [pairs[1][0], "  \n"], *pairs[2:]])
    yield too_bad("damage/xlsx/answer_blank.xlsx", blank, 4, [(3, "답변 is empty")])
    fault = xlsx([head, pairs[0], [pairs[1][0], Fault("#N/A")], *pairs[2:]])
    yield too_bad("damage/xlsx/answer_is_an_error.xlsx", fault, 4, [(3, "답변")])
    wide = xlsx([head, pairs[0], [*pairs[1], "새 열"], *pairs[2:]])
    yield too_bad("damage/xlsx/too_many.xlsx", wide, 4, [(3, "3 columns")])
    after_gap = xlsx([[], head, pairs[0], [], [None, pairs[1][1]], *pairs[2:]])
    yield too_bad("damage/xlsx/question_empty_after_gap.xlsx", after_gap, 4, [(5, "질문 is empty")])
    formula = xlsx([head, [pairs[0][0], Formula(pairs[0][1])], *pairs[1:]])
    yield ready("xlsx/formula.xlsx", formula, "질문+답변", turns(*KOREAN[0]), 4, **facts)
    yield refused("damage/xlsx/only_header.xlsx", xlsx([head]), "no rows")
    yield refused("damage/xlsx/empty_sheets.xlsx", xlsx([], []), "no rows")
    yield ready("xlsx/title_above.xlsx", xlsx([["약 질문 모음"], head, *pairs]), "질문+답변", turns(*KOREAN[0]), 4, **facts)


def _broken_sheets() -> Iterator[Case]:
    pairs = [list(pair) for pair in KOREAN[:4]]
    rows = [["질문", "답변"], *pairs]
    whole, files = xlsx(rows), sheets.parts(rows)
    sheet, texts = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
    body = str(files[sheet])
    broken = {
        "cut": whole[: len(whole) // 2],
        "cut_end": whole[:-10],
        "no_sheet": zipped({name: body for name, body in files.items() if name != sheet}),
        "no_workbook": zipped({name: body for name, body in files.items() if "workbook" not in name}),
        "broken_xml": zipped({**files, sheet: body[: len(body) // 2]}),
        "no_such_text": zipped({**files, sheet: body.replace("<v>3</v>", "<v>999</v>")}),
        "no_texts": zipped({name: body for name, body in files.items() if name != texts}),
        "wrong_sum": whole.replace("나루정".encode(), "나루정".encode()[::-1], 1),
        "no_zip": b"PK\x03\x04 and then something else",
    }
    for name, content in broken.items():
        yield refused(f"damage/xlsx/{name}.xlsx", content, "")


def _parquet_values() -> Iterator[Case]:
    facts: dict[str, Any] = {"encoding": ""}
    rows: list[dict[str, Any]] = [dict(row) for row in _ROWS]
    rows[1]["answer"] = None
    yield too_bad("damage/parquet/answer_null.parquet", parquet(rows), 4, [(2, "answer is empty")])
    rows[1]["answer"] = " "
    yield too_bad("damage/parquet/answer_blank.parquet", parquet(rows), 4, [(2, "answer is empty")])
    lists = [{"question": q, "answer": [a]} for q, a in _PAIRS]
    bad = [(line, "text was expected") for line in range(1, 5)]
    yield too_bad("damage/parquet/answer_list.parquet", parquet(lists), 4, bad)
    structs = [{"question": q, "answer": {"text": a}} for q, a in _PAIRS]
    yield too_bad("damage/parquet/answer_struct.parquet", parquet(structs), 4, bad)
    binary = [{"question": q, "answer": a.encode()} for q, a in _PAIRS]
    yield too_bad("damage/parquet/answer_binary.parquet", parquet(binary), 4, bad)
    nan = [{"question": q, "answer": float("nan")} for q, _ in _PAIRS]
    bad = [(line, "answer is empty") for line in range(1, 5)]
    yield too_bad("damage/parquet/answer_nan.parquet", parquet(nan), 4, bad)
    all_null = pyarrow.schema([("question", pyarrow.string()), ("answer", pyarrow.null())])
    nulls = [{"question": q, "answer": None} for q, _ in _PAIRS]
    yield too_bad("damage/parquet/answer_always_null.parquet", parquet(nulls, all_null), 4, bad)
    picture = {"bytes": b"\x89PNG\r\n", "path": "a.png"}
    yield refused("unclear/pictures.parquet", parquet([{"image": picture, "label": n} for n in range(3)]), "not clear")
    turn = {"role": "user", "content": "a?"}
    half = [{"messages": [turn, {"role": "assistant", "content": "b" if n else None}]} for n in range(3)]
    yield too_bad("damage/parquet/turn_null.parquet", parquet(half), 3, [(1, "empty")])
    numbers = [{"문제": q, "정답": n / 2} for n, (q, _) in enumerate(_PAIRS)]
    yield ready("parquet/numbers.parquet", parquet(numbers), "문제+정답", turns(_PAIRS[0][0], "0.0"), 4, **facts)


def _parquet_columns() -> Iterator[Case]:
    facts: dict[str, Any] = {"encoding": ""}
    questions, answers = ([pair[place] for pair in _PAIRS] for place in (0, 1))
    kinds = {"large_string": pyarrow.large_string(), "dictionary": pyarrow.dictionary(pyarrow.int8(), pyarrow.string())}
    for name, kind in kinds.items():
        columns = {"question": pyarrow.array(questions).cast(kind), "answer": pyarrow.array(answers).cast(kind)}
        yield ready(f"parquet/{name}.parquet", of_columns(columns), _SHAPE, _FIRST, 4, **facts)
    dated = {"question": pyarrow.array(questions), "answer": pyarrow.array(answers)}
    dated["day"] = pyarrow.array([0, 1, 2, None], pyarrow.date32())
    yield ready("parquet/other_types.parquet", of_columns(dated), _SHAPE, _FIRST, 4, **facts)
    twice = pyarrow.table([questions, answers, answers[::-1]], names=["question", "answer", "answer"])
    yield ready("parquet/doubled_name.parquet", of_table(twice), _SHAPE, _FIRST, 4, **facts)
    many = parquet([{"question": q, "answer": a} for q, a in numbered(120)])
    yield ready("parquet/many.parquet", many, _SHAPE, turns(*numbered(1)[0]), 120, **facts)
    none = pyarrow.table({"question": pyarrow.array([], pyarrow.string()), "answer": pyarrow.array([], pyarrow.string())})
    yield refused("damage/parquet/no_rows.parquet", of_table(none), "no rows")
    yield refused("damage/parquet/no_columns.parquet", of_table(pyarrow.table({})), "")


def _parquet_bytes() -> Iterator[Case]:
    whole = parquet(_ROWS)
    broken = {
        "cut": whole[: len(whole) // 2],
        "cut_end": whole[:-4],
        "no_footer": whole[: whole.rindex(b"ARROW:schema")] + b"PAR1",
        "only_mark": b"PAR1",
        "page_overwritten": whole[:8] + bytes(range(200, 232)) + whole[40:],
    }
    for name, content in broken.items():
        yield refused(f"damage/parquet/{name}.parquet", content, "damaged")
    # text that is no UTF-8: other writers do not look
    words = pyarrow.array([b"Yes.", b"Twice a \xff\xfe day.", b"No.", b"Perhaps."]).view(pyarrow.string())
    columns = {"question": pyarrow.array([q for q, _ in _PAIRS]), "answer": words}
    yield too_bad("damage/parquet/bad_bytes.parquet", of_columns(columns), 4, [(2, "")])
