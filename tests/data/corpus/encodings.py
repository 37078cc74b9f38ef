"""Every format that is text, in every encoding: the same questions and answers each time."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Iterator

from .case import Case, ready
from .words import BOTH, KOREAN, PARAGRAPHS, turns
from .write import ENCODINGS, cells, json_list, jsonl, mark_le, pretty, table

_PAIRS = BOTH[:4]
_ROWS = [{"질문": question, "답변": answer} for question, answer in _PAIRS]
_COLUMNS = {name: [row[name] for row in _ROWS] for name in ("질문", "답변")}
# folder and name, its text, how many rows that is
_TABLES = (
    ("jsonl/pairs", "jsonl", jsonl(_ROWS), 4),
    ("json/list", "json", json_list(_ROWS), 4),
    ("json/object", "json", pretty({"version": "1.0", "data": _ROWS}), 4),
    ("json/columns", "json", pretty(_COLUMNS), 4),
    ("json/index", "json", pretty({str(number): row for number, row in enumerate(_ROWS)}), 4),
    ("json/single", "json", pretty(_ROWS[0]), 1),
    ("csv/comma", "csv", table(_ROWS), 4),
    ("csv/semicolon", "csv", table(_ROWS, ";"), 4),
    ("csv/pipe", "csv", table(_ROWS, "|"), 4),
    ("csv/excel", "csv", "sep=;\n" + table(_ROWS, ";"), 4),
    ("tsv/pairs", "tsv", table(_ROWS, "\t"), 4),
)
_PLAIN = "\n\n".join(PARAGRAPHS)


def cases() -> Iterator[Case]:
    """Formats times encodings, then those that need more care."""
    for encoding, (encode, name) in ENCODINGS.items():
        for path, suffix, text, count in _TABLES:
            first = turns(*_PAIRS[0])
            yield ready(f"{path}.{encoding}.{suffix}", encode(text), "질문+답변", first, count, encoding=name)
        for suffix in ("txt", "md"):
            text = f"# 약 이야기\n\n{_PLAIN}\n"
            path = f"text/paragraphs.{encoding}.{suffix}"
            yield ready(path, encode(text), "text", [("text", text.strip())], 1, encoding=name)
    yield from _more_encodings()
    yield from _marks()
    yield from _signs_in_texts()


def _more_encodings() -> Iterator[Case]:
    korean = [{"질문": question, "답변": answer} for question, answer in KOREAN]
    first = turns(*KOREAN[0])
    text = table(korean)
    yield ready("csv/korean.utf-16-le-no-mark.csv", text.encode("utf-16-le"), "질문+답변", first, 6, encoding="utf-16-le")
    yield ready("csv/korean.euc-kr.csv", text.encode("euc-kr"), "질문+답변", first, 6, encoding="cp949")
    yield ready("csv/korean.utf-16.cr.csv", mark_le(text.replace("\n", "\r")), "질문+답변", first, 6, encoding="utf-16")
    utf_32 = codecs.BOM_UTF32_LE + text.encode("utf-32-le")
    yield ready("csv/korean.utf-32.csv", utf_32, "질문+답변", first, 6, encoding="utf-32")
    western = [
        {"question": "¿Cómo se toma Narudín?", "answer": "Narudín se toma después de comer."},
        {"question": "Où garder Mirisol?", "answer": "Mirisol se garde au réfrigérateur."},
        {"question": "Wie misst man Fieber?", "answer": "Man misst Fieber für fünf Minuten."},
    ]
    first = turns("¿Cómo se toma Narudín?", "Narudín se toma después de comer.")
    yield ready("csv/western.cp1252.csv", table(western).encode("cp1252"), "question+answer", first, 3, encoding="cp1252")
    # a syllable that only Windows' extension of EUC-KR has
    rare = [{"질문": "똠얌은 약인가요?", "답변": "아니요, 똠얌은 국물 요리이고 샾에서 팝니다."}, *korean]
    first = turns(rare[0]["질문"], rare[0]["답변"])
    yield ready("csv/rare_syllables.cp949.csv", table(rare).encode("cp949"), "질문+답변", first, 7, encoding="cp949")


def _marks() -> Iterator[Case]:
    """Byte order marks and Excel's first line in all places where programs put them."""
    rows = [{"question": question, "answer": answer} for question, answer in KOREAN[:3]]
    first, text = turns(*KOREAN[0]), table(rows)
    shape = "question+answer"
    yield ready("csv/mark_twice.csv", codecs.BOM_UTF8 * 2 + text.encode(), shape, first, 3, encoding="utf-8-sig")
    quoted = '"question","answer"\n' + text.partition("\n")[2]
    yield ready("csv/mark_before_quotes.csv", quoted.encode("utf-8-sig"), shape, first, 3, encoding="utf-8-sig")
    yield ready(
        "csv/excel_tab.utf-16.csv", mark_le("sep=\t\n" + table(rows, "\t")), shape, first, 3, encoding="utf-16", format="tsv"
    )
    yield ready("csv/excel_capital.csv", b"SEP=|\n" + table(rows, "|").encode(), shape, first, 3)
    yield ready("csv/excel_quoted.csv", b'"sep=;"\n' + table(rows, ";").encode(), shape, first, 3)
    yield ready("csv/no_newline_at_end.csv", text.rstrip("\n").encode(), shape, first, 3)
    yield ready("csv/blank_lines.csv", ("\n\n" + text.replace("\n", "\n\n")).encode(), shape, first, 3)
    yield ready("jsonl/no_newline_at_end.jsonl", jsonl(rows).rstrip("\n").encode(), shape, first, 3)
    yield ready("jsonl/blank_lines.jsonl", ("\n \n" + jsonl(rows).replace("\n", "\n\t\n")).encode(), shape, first, 3)
    commas = jsonl(rows).replace("}\n", "},\n")
    yield ready("jsonl/commas_at_line_ends.jsonl", commas.encode(), shape, first, 3)
    yield ready("jsonl/list_in_lines.jsonl", ("[\n" + commas + "]\n").encode(), shape, first, 3, format=None)
    yield ready("jsonl/escaped.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode(), shape, first, 3)
    trailing = json_list(rows).replace("}\n]", "},\n]")
    yield ready("json/trailing_comma.json", trailing.encode(), shape, first, 3)
    yield ready("json/trailing_comma_in_object.json", ('{"data": ' + trailing.rstrip() + "}").encode(), shape, first, 3)
    yield ready("json/compact.json", json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode(), shape, first, 3)


def _signs_in_texts() -> Iterator[Case]:
    """Signs that some programs take for the end of a line or of a text."""
    texts = {
        "line_separator": ("한 줄\u2028두 줄은 무엇인가요?", "줄을\u2028나누고\u2029문단을 나누는 기호입니다."),
        "other_line_signs": ("Which signs end a line?", "one\x85two\x0bthree\x0cfour\x1cfive"),
        "astral": ("💊 는 무슨 뜻인가요? 𠮷", "💊 는 알약이라는 뜻입니다. 👩‍⚕️ 에게 물어보세요."),
        "right_to_left": ("ما هو ناروادين؟", "ناروادين دواء للحمى. כדור אחד ביום."),
        "decomposed": (unicodedata.normalize("NFD", "나루정은?"), unicodedata.normalize("NFD", "나루정은 약입니다.")),
        "zero_width": ("나루\u200b정은 언제 먹나요?", "아침\u00a0식사 뒤에\u200d 먹습니다."),
    }
    for name, (question, answer) in texts.items():
        rows = [{"question": question, "answer": answer}, *({"question": q, "answer": a} for q, a in KOREAN[:3])]
        first = turns(question, answer)
        for suffix, text in (("jsonl", jsonl(rows)), ("json", json_list(rows)), ("csv", table(rows)), ("tsv", table(rows, "\t"))):
            yield ready(f"signs/{name}.{suffix}", text.encode(), "question+answer", first, 4)
    plain = "첫 줄\u2028둘째 줄 💊\n\nماء"
    yield ready("signs/all.txt", plain.encode(), "text", [("text", plain)], 1)
    quotes = [('What does "b.i.d." mean?', 'It means "twice a day", in Latin\nbis in die.'), *KOREAN[:2]]
    lines = [("question", "answer"), *quotes]
    yield ready("signs/quotes_and_line_ends.csv", cells(lines).encode(), "question+answer", turns(*quotes[0]), 3)
    yield ready("signs/quotes_and_line_ends.tsv", cells(lines, "\t").encode(), "question+answer", turns(*quotes[0]), 3)
