"""Every sentence has its Korean, with the same places, and the compiled catalogue is what the program
reads.
"""

from __future__ import annotations

from typing import Any

import pytest

from nuguna.message import Message, say
from nuguna.text.language import choose_language, translator
from tools.translations import MO, compiled, extract, places, problems, read


def test_all_sentences_are_translated_and_compiled() -> None:
    assert problems(extract(), read()) == []
    assert MO.read_bytes() == compiled(read()), "run: python -m tools.translations"


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_sentence_can_be_filled_in(lang: str) -> None:
    t = translator(lang)
    for message in extract():
        if message.id:
            try:
                names = places(str(message.id))
            except ValueError:
                names = set()
            assert t(Message(str(message.id), dict.fromkeys(names, "X")))


def test_messages_within_messages_are_translated_too() -> None:
    inner = say("a whole number, 1 or more")
    outer = translator("ko")(say("It must be {expected}.", expected=inner))
    assert translator("ko")(inner) in outer and "whole" not in outer


def test_braces_in_values_and_an_empty_sentence_stay_as_they_are() -> None:
    t = translator("ko")
    assert t(Message("")) == ""  # not the header of the catalogue
    assert "{x}" in t(say("{name} cannot be {value}.", name="A", value="{x}"))


@pytest.mark.parametrize(
    ("wish", "environ", "lang"),
    [
        ("ko", {"LANG": "en_US.UTF-8"}, "ko"),
        ("auto", {"LANG": "ko_KR.UTF-8"}, "ko"),
        (None, {"LC_ALL": "en_US.UTF-8", "LANG": "ko_KR.UTF-8"}, "en"),
        ("", {"LC_ALL": "", "LANG": "ko_KR"}, "ko"),
    ],
)
def test_the_language_follows_the_wish_then_the_locale(wish: Any, environ: dict[str, str], lang: str) -> None:
    assert choose_language(wish, environ) == lang
