"""What people call the columns and parts of their data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

# column names, in small letters without blanks, by which people call the two halves of an example; most
# explicit first
PAIRS = (
    *(
        ("question", "answer"),
        ("prompt", "completion"),
        ("prompt", "response"),
        ("instruction", "output"),
        ("instruction", "response"),
    ),
    *(
        ("input", "output"),
        ("q", "a"),
        ("query", "response"),
        ("query", "answer"),
        ("question", "response"),
        ("user", "assistant"),
    ),
    *(
        ("질문", "답변"),
        ("질문", "답"),
        ("질문", "응답"),
        ("질문", "대답"),
        ("질의", "응답"),
        ("질의", "답변"),
        ("문의", "답변"),
    ),
    *(
        ("지시", "출력"),
        ("지시문", "출력"),
        ("지시", "응답"),
        ("명령어", "응답"),
        ("명령", "응답"),
        ("입력", "출력"),
    ),
    *(
        ("문제", "정답"),
        ("문제", "답"),
        ("문제", "풀이"),
        ("사용자", "챗봇"),
        ("사용자", "상담사"),
        ("고객", "상담사"),
    ),
)
QUESTIONS = (
    "question",
    "prompt",
    "instruction",
    "query",
    "질문",
    "질의",
    "문의",
    "지시",
    "지시문",
    "명령어",
    "문제",
    "user",
    "human",
    "input",
    "입력",
)
ANSWERS = (
    "answer",
    "completion",
    "response",
    "output",
    "답변",
    "응답",
    "정답",
    "대답",
    "답",
    "출력",
    "reply",
    "assistant",
    "bot",
    "chatbot",
)
# what a question refers to: it goes below it
CONTEXTS = ("input", "context", "passage", "입력", "지문", "본문", "맥락")
SYSTEMS = ("system", "systemprompt", "시스템")
TOOLS = ("tools", "functions")
KNOWN = ("terms", "lang", "rejected")  # read with every example, or named by what is said of the shape
TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "대화")
TEXTS = ("text", "content", "document", "텍스트", "본문", "내용", "글", "문장")
ROLE_KEYS, CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text", "utterance")


def plain(name: str) -> str:
    """Return a column's name without what people write differently."""
    return "".join(char for char in name.lower() if char.isalnum())


def split_columns(text: str) -> list[str]:
    """Return names of columns as they are written in a setting: with commas between them, those that hold one
    in double quotes.
    """
    return next(csv.reader([text], skipinitialspace=True), [])


def join_columns(names: Sequence[str]) -> str:
    """Return the other way round."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()
