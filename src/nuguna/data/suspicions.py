"""What is suspicious in one text of a dataset: private data, broken characters, a cut answer, an unexpected language.

Made to run over millions of texts: a cheap test first, and no pattern that backtracks for long. Rather a miss than a false alarm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (not included) of a text, and what they are: "email", "phone" or "resident_number"."""

    kind: str
    start: int
    end: int


_MAX_LOCAL = 64  # characters before the @ (RFC 5321, section 4.5.3.1.1)
_LOCAL_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_DOMAIN = re.compile(r"@((?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,6}([A-Za-z]{2,24}))(?![A-Za-z0-9_]|-[A-Za-z0-9])")
# "icon@2x.png" is a file
_FILE_ENDINGS = frozenset("png jpg jpeg gif svg webp bmp ico pdf js ts jsx tsx css html htm json xml yml yaml txt".split())

# Every number we look for has at least nine characters like these. One greedy run, no alternative: linear.
_DIGITS = re.compile("[0-9][0-9][-. ()0-9\u2010-\u2013]{6,}[0-9]")
_DASH = "[-\u2010-\u2013]"
_AREA = r"(?:2|[3-6][1-5]|70|80|50[0-9]?)"  # Korean numbers after the first 0 that are not mobile phones
_NUMBER = re.compile(
    # Not the middle of a longer number, a word, an identifier or a decimal ...
    rf"(?:(?<![0-9A-Za-z_])(?<![0-9][-.\u2010-\u2013])(?<![A-Za-z]-)(?:"
    r"(?P<resident>[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?P<hyphen> ?[-\u2010-\u2013] ?)?[1-8][0-9]{6})"
    r"|(?P<mobile>010(?P<space> ?[-.\u2010-\u2013] ?| )[0-9]{3,4}(?P=space)[0-9]{4}|010-?[0-9]{4}-?[0-9]{4}"
    rf"|01[16-9](?P<dash>{_DASH}|\.)[0-9]{{3,4}}(?P=dash)[0-9]{{4}})"
    rf"|(?P<korean>0{_AREA}(?P<line> ?{_DASH} ?|\.)[0-9]{{3,4}}(?P=line)[0-9]{{4}}|0{_AREA}\) ?[0-9]{{3,4}}{_DASH}[0-9]{{4}}"
    r"|(?:\+82|82(?=-)|0082)[-. ]?(?:\(0\) ?|0)?(?:1[016-9]|2|[3-6][1-5]|70|50[0-9]?)[-. ]?[0-9]{3,4}[-. ]?[0-9]{4})"
    # the prefixes that the Korean regulator has given out for nationwide service numbers
    r"|(?P<service>1(?:5(?:22|33|44|66|77|88|99)|6(?:00|11|44|60|61|66|68|70|88)|8(?:00|11|33|55|77|99))-[0-9]{4})"
    r"|(?P<american>\+1[-. ]?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ]?)[0-9]{3}[-. ]?[0-9]{4}"
    rf"|(?:1{_DASH})?[2-9][0-9]{{2}}{_DASH}[1-9][0-9]{{2}}{_DASH}[0-9]{{4}}"
    r"|(?:1\.)?[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4}))"
    rf"|(?P<bracket>\((?:0{_AREA}\) ?[0-9]{{3,4}}|[2-9][0-9]{{2}}\)[-. ]?[0-9]{{3}}){_DASH}[0-9]{{4}}))"
    # ... and the same on the right, where an extension may follow: "x12", "ext. 12"
    r"(?![-.\u2010-\u2013]?[0-9]|(?!x[0-9]|ext)[A-Za-z_])"
)
_RESIDENT_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_FIRST_UNBORN_YEAR = 2040  # sorts out half of the barcodes and time stamps without asking a clock
_LAST_YEAR_OF_A_RANGE = 2100


def find_private(text: str) -> list[Span]:
    """E-mail addresses, Korean and North American telephone numbers, Korean resident registration numbers, in order.

    Not seen: "name at host dot com", numbers in words or full-width digits, telephone numbers of other countries, of seven digits
    or with blanks only (apart from 010 and a country code), addresses outside ASCII. Not told apart: private numbers and those of
    an office or a hotline; a barcode or time stamp of 13 digits that happens to be a date with the right check digit.
    """
    spans = _emails(text) if "@" in text else []
    if not _DIGITS.search(text):
        return spans
    taken = {i for span in spans for i in range(span.start, span.end)}  # the number in "01012345678@naver.com" is no phone
    searched = 0
    for digits in _DIGITS.finditer(text):
        # "+1 (" may stand before the first two digits, an extension after the last
        for match in _NUMBER.finditer(text, max(searched, digits.start() - 4), digits.end() + 4):
            searched = match.end()
            kind = _kind_of_number(text, match)
            if kind and match.start() not in taken and match.end() - 1 not in taken:
                spans.append(Span(kind, match.start(), match.end()))
    return sorted(spans, key=lambda span: span.start)


def _emails(text: str) -> list[Span]:
    """Looks backwards from each @ with a domain after it: forwards, a long word without one would be read again and again."""
    spans: list[Span] = []
    for match in _DOMAIN.finditer(text):
        head = text[max(0, match.start() - _MAX_LOCAL) : match.start()]
        local = head[len(head.rstrip(_LOCAL_CHARACTERS)) :].lstrip(".%+-")
        start = match.start() - len(local)
        is_handle = start > 0 and text[start - 1] == "@"  # "@user@mastodon.social"
        if local and not (local.endswith(".") or is_handle or local == "git" or match[2].lower() in _FILE_ENDINGS):
            spans.append(Span("email", start, match.end()))
    return spans


def _kind_of_number(text: str, match: re.Match[str]) -> str | None:
    """What a number of the right shape really is; None for years, barcodes and the like."""
    if match["resident"]:
        return "resident_number" if _is_resident_number(match) else None
    if match["service"]:
        first, second = int(match[0][:4]), int(match[0][5:])
        is_years = first <= second <= _LAST_YEAR_OF_A_RANGE  # "1588-1600"
        return None if is_years or "ISSN" in text[max(0, match.start() - 20) : match.start()] else "phone"
    return None if set(match[0]) == {"0", "1"} else "phone"  # a binary number


def _is_resident_number(match: re.Match[str]) -> bool:
    digits = [int(character) for character in match[0] if character.isdigit()]
    century = 1900 if digits[6] in (1, 2, 5, 6) else 2000  # 5 to 8: foreigners
    year, month, day = (10 * digits[i] + digits[i + 1] for i in (0, 2, 4))
    try:
        date(century + year, month, day)
    except ValueError:
        return False
    if match["hyphen"] or century + year >= _FIRST_UNBORN_YEAR:
        return century + year < _FIRST_UNBORN_YEAR  # numbers given out since October 2020 have no check digit
    total = sum(weight * digit for weight, digit in zip(_RESIDENT_WEIGHTS, digits, strict=False))
    return (11 - total % 11) % 10 == digits[12]


def mask(text: str, spans: Sequence[Span]) -> str:
    """The text with the letters and digits of each span as "*", save what stands on its first two places.

    Punctuation and blanks stay, so that one still sees what it was: "ki*@*****.***", "01*-****-****".
    """
    characters = list(text)
    for span in spans:
        for i in range(max(0, span.start) + 2, min(span.end, len(characters))):
            if text[i].isalnum():
                characters[i] = "*"
    return "".join(characters)


def masked(text: str) -> str:
    """The text with all private data in it masked."""
    return mask(text, find_private(text))


# --- broken characters ------------------------------------------------------------------------------------------------------
_SPECIALS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # what cp1252 has where latin-1 has control characters
_TO_LATIN1 = {ord(character): character.encode("cp1252")[0] for character in _SPECIALS}
_TO_CP1252 = {byte: character for character, byte in _TO_LATIN1.items()}
# Two bytes beyond ASCII side by side, the first at least in latin-1: no mojibake of these kinds is without such a pair.
_LATIN1_PAIR = re.compile(f"[\x80-\xff][\x80-\xff{_SPECIALS}]")
_NON_ASCII = re.compile("[^\x00-\x7f]")
_TAIL = f"[\x80-\xbf{_SPECIALS}]"
_UTF8_RUN = re.compile(f"(?:[\xc2-\xdf]{_TAIL}|[\xe0-\xef]{_TAIL}{{2}}|[\xf0-\xf4]{_TAIL}{{3}})+")
_BYTE_RUN = re.compile(f"[\x80-\xff{_SPECIALS}]+")
_KOREAN_WORD = re.compile("[\xb0-\xc8][\xa1-\xfe][\xb0-\xc8][\xa1-\xfe]")  # two Hangul syllables of KS X 1001
# What texts are made of: Latin letters, Hangul, typographic and mathematical signs, emoji ...
_USUAL = (
    "\x00-\u017f\u0192\u0218-\u021b\u02c6-\u02dc\u1e00-\u1eff\u2010-\u2027\u2030-\u205f\u20a0-\u20bf\u2100-\u27bf\u3000-\u303f"
    "\u3130-\u318f\u3200-\u33ff\uac00-\ud7a3\ufe0f\ufeff\uff00-\uffef\u200b-\u200d\U0001f000-\U0001faff"
)
_PLAUSIBLE = re.compile(f"[{_USUAL}]+")
# ... and other scripts, one at a time, which a pair or triple of odd characters may hit by chance: kana and Chinese, Greek,
# Cyrillic, Arabic, Devanagari, Thai.
_OTHER_SCRIPTS = "\u3040-\u30ff\u4e00-\u9fff \u0370-\u03ff \u0400-\u04ff \u0600-\u06ff \u0900-\u097f \u0e00-\u0e7f".split()
_PLAUSIBLE_WHEN_LONG = re.compile("|".join(f"[{_USUAL}{script}]+" for script in _OTHER_SCRIPTS))
_C1 = re.compile("[\x80-\x9f]")
# Signs that stand behind a word in sound texts: "né…»", "MANHÃ”". A letter and only such signs prove nothing.
_BEHIND_A_LETTER = frozenset("…„“”‘’–—«»\xa0·®™")
_BEHIND_A_WORD = _BEHIND_A_LETTER | frozenset("‚‹›ªº¹²³°©†•")
_LETTER_OR_SIGN = re.compile("[\xac-\xba\xc0-\xff]")
_OPENING = frozenset("\"'(«“‘„‚‹")
# Of the 2,350 syllables of KS X 1001, 160 that make up 78 % of running Korean text (counted in chatbot_ko.csv and README.ko.md).
_COMMON_SYLLABLES = frozenset(
    "요이는어다하지가을아고에나세해니은사보있기도습로거게한자모의서좋면수를만데시까그일정예리네없마학인으들무라같랑할것터델더내"
    "겠제여람야남않생음말려대주안스과연친구간전계봐오바상부드잘했너각신실장중저힘행되결답많파비문때질알적진우받화와두못운분"
    "러든르쓰락합금물국체법경위발표민원성조령글본감공방동소년월명된업영유상재교치약등및"
)


def mend_mojibake(text: str) -> str | None:
    """The text as it was meant, or None when nothing is wrong with it or it cannot be mended for certain.

    Mended, also when it happened several times over: UTF-8 read as cp1252 or latin-1 ("cafÃ©", "donâ€™t", "ì•ˆë…•"), CP949 read
    as cp1252 or latin-1 ("¾È³çÇÏ¼¼¿ä"), and whole texts in UTF-8 read as CP949 where not a byte was lost. Only what turns back
    into the same bytes and becomes usual text. Not mended: what lost bytes ("?덈뀞"; a no-break space that became a blank, as in
    "voilÃ "), CP949 of a single syllable between ASCII, a lone pair that may be meant ("MANHÃ”").
    """
    if text.isascii():
        return None
    mended = text
    while (better := _mend_once(mended)) is not None:  # each round shortens the text
        mended = better
    return None if mended is text else mended


def _mend_once(text: str) -> str | None:
    mended = (_mend_cp949_as_latin(text) or _mend_utf8_as_latin(text)) if _LATIN1_PAIR.search(text) else None
    return mended or _mend_utf8_as_cp949(text)


def _latin_bytes(text: str) -> bytes | None:
    """The bytes that were read as latin-1 or cp1252 to give this text; None if none do."""
    latin1 = text.translate(_TO_LATIN1)
    return _encode(latin1, "latin-1") if text in (latin1, latin1.translate(_TO_CP1252)) else None


def _decode(data: bytes | None, encoding: str) -> str | None:
    try:
        return None if data is None else data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _mend_utf8_as_latin(text: str) -> str | None:
    texts = {run: _decode_run(run) for run in set(_UTF8_RUN.findall(text))}
    # Three letters in a row, each followed by signs: no language is written like that.
    is_sure = any(len(decoded) >= 3 and _PLAUSIBLE_WHEN_LONG.fullmatch(decoded) for decoded in texts.values())
    plausible = _PLAUSIBLE_WHEN_LONG if is_sure else _PLAUSIBLE
    runs = [(match, texts[match[0]]) for match in _UTF8_RUN.finditer(text) if plausible.fullmatch(texts[match[0]])]
    certain = [(match, decoded) for match, decoded in runs if len(decoded) > 1 or not _may_be_meant(text, match)]
    # Where all else is sound UTF-8 and something is certain, the doubtful runs are no longer doubtful.
    is_whole = len(certain) < len(runs) and _decode(_latin_bytes(text), "utf-8") is not None
    return _replace(text, runs if is_whole else certain) if certain else None


def _decode_run(run: str) -> str:
    """The text of one run, "" if it is none. With control characters it is sound only if the next round mends them."""
    decoded = _decode(_latin_bytes(run), "utf-8") or ""
    return "" if _C1.search(decoded) and _C1.search(_mend_utf8_as_latin(decoded) or decoded) else decoded


def _replace(text: str, mended: Sequence[tuple[re.Match[str], str]]) -> str:
    pieces: list[str] = []
    place = 0
    for match, decoded in mended:
        pieces += [text[place : match.start()], decoded]
        place = match.end()
    return "".join([*pieces, text[place:]])


def _may_be_meant(text: str, match: re.Match[str]) -> bool:
    """Whether a single pair or triple can be a letter with the quotation mark, dash or ellipsis that follows it."""
    letter, signs = match[0][0], match[0][1:]
    if _C1.search(signs):
        return False
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
    if _LETTER_OR_SIGN.match(before) or _LETTER_OR_SIGN.match(after):
        return True  # the middle of something else, such as CP949
    if len(signs) > 1:  # three bytes begin with a small letter, "â" is that of arrows and dashes: hardly a word ends in it
        return _BEHIND_A_WORD.issuperset(signs) and (letter != "â" or signs[0] == "…")
    if signs not in _BEHIND_A_LETTER or before.islower():
        return False  # "rÃ´": no capital letter stands behind a small one
    goes_on = len(after) == 2 and after.isalpha() and after.islower()  # "Å“uvre": no word begins right behind a closing sign
    if letter in "ÂÃ":  # no words by themselves
        return not goes_on and (before.isupper() or before in _OPENING)
    return not goes_on or signs in "\xa0…–—"


def _mend_cp949_as_latin(text: str) -> str | None:
    words = [run for run in _BYTE_RUN.findall(text) if _KOREAN_WORD.search(run)]
    if all(_decode(_latin_bytes(word), "utf-8") is not None for word in words):
        return None
    whole = _decode(_latin_bytes(text), "cp949")
    if whole is not None and _is_korean(whole):
        return whole
    # Sound characters stand beside it: mend the runs that are two syllables or a common one.
    runs = [(match, _decode(_latin_bytes(match[0]), "cp949")) for match in _BYTE_RUN.finditer(text)]
    sound = [(match, run) for match, run in runs if run and (len(run) > 1 or run in _COMMON_SYLLABLES) and not _C1.search(run)]
    return _replace(text, sound) if _is_korean("".join(run for _, run in sound)) else None


def _is_korean(text: str) -> bool:
    """Mostly Hangul, several syllables, and not only rare ones."""
    high = [character for character in text if character > "\x7f"]
    hangul = [character for character in high if "가" <= character <= "힣"]
    num_common = sum(character in _COMMON_SYLLABLES for character in hangul)
    return len(set(hangul)) > 1 and 10 * len(hangul) >= 7 * len(high) and 3 * num_common >= len(hangul)


def _mend_utf8_as_cp949(text: str) -> str | None:
    first = _NON_ASCII.search(text)
    # The first byte must begin a character in UTF-8; in CP949 those are Chinese characters and a few rare syllables.
    if not first or (_encode(first[0], "cp949") or b"\0")[0] not in b"\xc2\xe2\xe3\xea\xeb\xec\xed":
        return None
    decoded = _decode(_encode(text, "cp949"), "utf-8")
    return decoded if decoded is not None and _is_korean(decoded) else None


def _encode(text: str, encoding: str) -> bytes | None:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


def has_replacement(text: str) -> bool:
    """Whether characters are already lost: U+FFFD, which stands for bytes that could not be read."""
    return "\ufffd" in text


# --- cut answers ------------------------------------------------------------------------------------------------------------
_MIN_ABRUPT = 80  # short answers are written carelessly: "see the rules of" may be all that was meant
_FENCE = re.compile(r"^[ \t>]*(`{3,})([^\n]*)", re.MULTILINE)  # not "~~~", which is laughter in Korean
_CLOSING_OF = dict(zip("([{（「『《〈«“‘", ")]}）」』》〉»”’", strict=True))
_GREETING = re.compile(r"\n[^\n]{0,12}\b(?:regards|wishes|sincerely|truly|faithfully|thanks|cheers|love|best)[^\n]{0,12},$", re.I)
_ENGLISH = re.compile(" (?:the|of|is|are|to|in) ")  # "or" is French as well, "an" German
# Words that end no sentence, wherever they stand ...
_NEVER_LAST = re.compile(r"[\w,;:)] (?:and|or|but|because|although|the|whose|our|your|their|(?:of|for|with|as|in|on|by) an?)$")
# ... and words that end one at times ("what it is made of"), but not one without a full stop among sentences that have theirs.
_SELDOM_LAST = re.compile(r"[a-z,;)] (?:of|from|with|for|to|into|onto|between|among|during|than|which)$")
_SENTENCE_END = re.compile(r"[a-z0-9)\"'][.!?] +[A-Z]")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•#>|]|\(?\w{1,3}[.)])\s")
_KOREAN_CUT = re.compile(
    r"[가-힣a-zA-Z0-9)](?:를|에서|(?<!다)는)$|[들것등간람국와로터]의$|[을를에] (?:대한|위한)$| (?:및|또는|혹은)$"
    r"|[.!?,\n] *(?:그리고|하지만|그러나|따라서|그런데|그래서|또한|예를 들어)$"
)
# The particles 은 and 을 follow a final consonant only, unlike 마을, 가을; with 은 these syllables make names and words.
_NOT_BEFORE_TOPIC = frozenset("정성영상경승동홍종순금")


def ends_abruptly(text: str) -> bool:
    """Whether an answer of more than 80 characters seems to be cut off.

    It ends inside a code fence, with a comma, an opening bracket or quotation mark, or with a word that ends no sentence: "the",
    "and", "of" where sentences have full stops; in Korean a particle (은 는 을 를 에서, some 의) or a word such as 그리고.
    Not seen: a cut between sentences or inside a word, after a full stop, a colon, straight quotes; list items that end in "of";
    "in", "on" and the particles 이, 가, 에, 로, which end sentences too; other languages. Dots ("...", "…") alone are no sign.
    """
    text = text.rstrip()
    if len(text) <= _MIN_ABRUPT:
        return False
    last, tail = text[-1], text[-_MIN_ABRUPT:]
    if text.count("```") % 2 and _is_in_fence(text):  # an even number may be a fence that was opened in the middle of a line
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
    return bool(_SELDOM_LAST.search(tail) and not _LIST_ITEM.match(text, text.rfind("\n") + 1) and _SENTENCE_END.search(text))


def _is_in_fence(text: str) -> bool:
    """Whether a code fence is open at the end. One at least as long with nothing behind it closes a fence."""
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


# --- language ---------------------------------------------------------------------------------------------------------------
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
    "other": re.compile("[\u0370-\u03ff\u0530-\u05ff\u0980-\u0dff\u0e80-\u0fff\u10a0-\u10ff\u1200-\u137f\u1780-\u17ff]+"),
}


def language(text: str) -> str:
    """The language that the script of the first 300 characters speaks for; "none" without letters.

    "ko", "en", "ja", "zh", "ru", "ar", "th", "hi" or "other". Latin letters are called "en" unless three or more, and more than
    3 %, have accents: then "other". So Latin text without accents (Indonesian, Italian in part) is "en", Ukrainian is "ru" and
    Persian "ar". A syllable of Hangul or kana or a Chinese character counts 2.5 times: as much as the letters it stands for.
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
