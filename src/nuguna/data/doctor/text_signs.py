"""Answers that seem to be cut off, and the language of a text. Rather a miss than a false alarm."""

from __future__ import annotations

import re

_MIN_ABRUPT = 80  # short answers are written carelessly: "see the rules of" may be all that was meant
_FENCE = re.compile(r"^[ \t>]*(`{3,})([^\n]*)", re.MULTILINE)  # not "~~~", which is laughter in Korean
_CLOSING_OF = dict(zip("([{（「『《〈«“‘", ")]}）」』》〉»”’", strict=True))
_GREETING = re.compile(
    r"\n[^\n]{0,12}\b(?:regards|wishes|sincerely|truly|faithfully|thanks|cheers|love|best)[^\n]{0,12},$", re.I
)
_ENGLISH = re.compile(" (?:the|of|is|are|to|in) ")  # "or" is French as well, "an" German
# Words that end no sentence, wherever they stand ...
_NEVER_LAST = re.compile(
    r"[\w,;:)] (?:and|or|but|because|although|the|whose|our|your|their|(?:of|for|with|as|in|on|by) an?)$"
)
# ... and words that end one at times ("what it is made of"), but not one without a full stop among sentences
# that have theirs.
_SELDOM_LAST = re.compile(r"[a-z,;)] (?:of|from|with|for|to|into|onto|between|among|during|than|which)$")
_SENTENCE_END = re.compile(r"[a-z0-9)\"'][.!?] +[A-Z]")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•#>|]|\(?\w{1,3}[.)])\s")
_KOREAN_CUT = re.compile(
    r"[가-힣a-zA-Z0-9)](?:를|에서|(?<!다)는)$|[들것등간람국와로터]의$"
    r"|[을를에] (?:대한|위한)$| (?:및|또는|혹은)$"
    r"|[.!?,\n] *(?:그리고|하지만|그러나|따라서|그런데|그래서|또한|예를 들어)$"
)
# The particles 은 and 을 follow a final consonant only, unlike 마을, 가을; with 은 these syllables make
# names and words.
_NOT_BEFORE_TOPIC = frozenset("정성영상경승동홍종순금")


def ends_abruptly(text: str) -> bool:
    """Return whether an answer of more than 80 characters seems to be cut off.

    It ends inside a code fence, with a comma, an opening bracket or quotation mark, or with a word that ends
    no sentence: "the", "and", "of" where sentences have full stops; in Korean a particle (은 는 을 를 에서,
    some 의) or a word such as 그리고. Not seen: a cut between sentences or inside a word, after a full stop,
    a colon, straight quotes; list items that end in "of"; "in", "on" and the particles 이, 가, 에, 로, which
    end sentences too; other languages. Dots ("...", "…") alone are no sign.
    """
    text = text.rstrip()
    if len(text) <= _MIN_ABRUPT:
        return False
    last, tail = text[-1], text[-_MIN_ABRUPT:]
    # an even number may be a fence that was opened in the middle of a line
    if text.count("```") % 2 and _is_in_fence(text):
        return True
    if last in ",，、":
        return tail[-2] not in ",，、." and not _GREETING.search(tail)
    if last in _CLOSING_OF:  # not ":(", nor “ and « as closing marks, which have no blank before them
        is_open = tail[-2].isspace() if last in "“‘«" else tail[-2] not in ":;=-8ㅠㅜ"
        return is_open and text.count(last) > text.count(_CLOSING_OF[last])
    if "가" <= last <= "힣":
        return _KOREAN_CUT.search(tail) is not None or (last in "은을" and _is_particle(last, tail[-2]))
    if not "a" <= last <= "z":
        return False
    if _NEVER_LAST.search(tail):
        return _ENGLISH.search(text) is not None
    return bool(
        _SELDOM_LAST.search(tail)
        and not _LIST_ITEM.match(text, text.rfind("\n") + 1)
        and _SENTENCE_END.search(text)
    )


def _is_in_fence(text: str) -> bool:
    """Return whether a code fence is open at the end. One at least as long with nothing behind it closes a
    fence.
    """
    fence = ""
    for match in _FENCE.finditer(text):
        if not fence:
            fence = match[1] if "`" not in match[2] else ""  # "```x```" in one line is no fence
        elif match[1].startswith(fence) and not match[2].strip():
            fence = ""
    return bool(fence)


def _is_particle(last: str, before: str) -> bool:
    # each syllable has 28 forms, the first without a final consonant (Unicode, section 3.12)
    has_final_consonant = "가" <= before <= "힣" and (ord(before) - ord("가")) % 28 > 0
    return has_final_consonant and before not in (_NOT_BEFORE_TOPIC if last == "은" else "갑")


# --- language

_SAMPLE = 300  # characters
_ASCII_LETTER = re.compile("[A-Za-z]")
_LATIN = re.compile("[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff]+")
_ACCENTED = re.compile("[\xc0-\xd6\xd8-\xf6\xf8-\u024f\u1e00-\u1eff]+")
_HANGUL = re.compile("[가-힣ㄱ-ㆎ\u1100-\u11ff]+")
_KANA = re.compile("[ぁ-ゟァ-ヺーｦ-ﾝ]+")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_ALPHABETS = {
    "ru": re.compile("[\u0400-\u04ff]+"),
    "ar": re.compile("[\u0600-\u06ff]+"),
    "th": re.compile("[\u0e00-\u0e7f]+"),
    "hi": re.compile("[\u0900-\u097f]+"),
    "other": re.compile(
        "[\u0370-\u03ff\u0530-\u05ff\u0980-\u0dff\u0e80-\u0fff\u10a0-\u10ff\u1200-\u137f\u1780-\u17ff]+"
    ),
}


def language(text: str) -> str:
    """Return the language that the script of the first 300 characters speaks for; "none" without letters.

    "ko", "en", "ja", "zh", "ru", "ar", "th", "hi" or "other". Latin letters are called "en" unless three or
    more, and more than 3 %, have accents: then "other". So Latin text without accents (Indonesian, Italian in
    part) is "en", Ukrainian is "ru" and Persian "ar". A syllable of Hangul or kana or a Chinese character
    counts 2.5 times: as much as the letters it stands for.
    """
    head = text[:_SAMPLE]
    if head.isascii():
        return "en" if _ASCII_LETTER.search(head) else "none"
    num_hangul = _count(_HANGUL, head)
    if 2 * num_hangul >= len(head):
        return "ko"
    num_latin = _count(_LATIN, head)
    counts = {"ko": 2.5 * num_hangul, "en": num_latin}
    if 7 * num_latin < 5 * len(head):  # else nothing can outweigh it
        num_kana, num_han = _count(_KANA, head), _count(_HAN, head)
        is_japanese = 10 * num_kana > num_han  # a Chinese text may quote a の
        counts["ja" if is_japanese else "zh"] = 2.5 * (num_kana + num_han)
        counts.update({name: _count(pattern, head) for name, pattern in _ALPHABETS.items()})
    best = max(counts, key=lambda name: counts[name])
    if not counts[best]:
        return "none"
    if best == "en":
        num_accented = _count(_ACCENTED, head)
        return "other" if num_accented >= 3 and 100 * num_accented > 3 * num_latin else "en"
    return best


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))
