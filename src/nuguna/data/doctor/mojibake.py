"""Characters that were read in a wrong encoding, and mending them; characters that are lost."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIALS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # what cp1252 has where latin-1 has control characters
_TO_LATIN1 = {ord(character): character.encode("cp1252")[0] for character in _SPECIALS}
_TO_CP1252 = {byte: character for character, byte in _TO_LATIN1.items()}
# Two bytes beyond ASCII side by side, the first at least in latin-1: no mojibake of these kinds is without
# such a pair.
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
# ... and other scripts, one at a time, which a pair or triple of odd characters may hit by chance: kana and
# Chinese, Greek, Cyrillic, Arabic, Devanagari, Thai.
_OTHER_SCRIPTS = (
    "\u3040-\u30ff\u4e00-\u9fff \u0370-\u03ff \u0400-\u04ff \u0600-\u06ff \u0900-\u097f \u0e00-\u0e7f".split()
)
_PLAUSIBLE_WHEN_LONG = re.compile("|".join(f"[{_USUAL}{script}]+" for script in _OTHER_SCRIPTS))
_C1 = re.compile("[\x80-\x9f]")
# Signs that stand behind a word in sound texts: "né…»", "MANHÃ”". A letter and only such signs prove nothing.
_BEHIND_A_LETTER = frozenset("…„“”‘’–—«»\xa0·®™")
_BEHIND_A_WORD = _BEHIND_A_LETTER | frozenset("‚‹›ªº¹²³°©†•")
_LETTER_OR_SIGN = re.compile("[\xac-\xba\xc0-\xff]")
_OPENING = frozenset("\"'(«“‘„‚‹")
# Of the 2,350 syllables of KS X 1001, 160 that make up 78 % of running Korean text (counted in chatbot_ko.csv
# and README.ko.md).
_COMMON_SYLLABLES = frozenset(
    "요이는어다하지가을아고에나세해니은사보있기도습로거게한자모의서좋면수를만데시까그일정예리네없마학인으들무라같랑할것터델더내겠제여람야남않생음말려대주안스과연친구간전계봐오바상부드잘했너각신실장중저힘행되결답많파비문때질알적진우받화와두못운분러든르쓰락합금물국체법경위발표민원성조령글본감공방동소년월명된업영유상재교치약등및"
)


def fix_mojibake(text: str) -> str | None:
    """Return the text as it was meant, or None when nothing is wrong with it or it cannot be mended for
    certain.

    Mended, also when it happened several times over: UTF-8 read as cp1252 or latin-1 ("cafÃ©", "donâ€™t",
    "ì•ˆë…•"), CP949 read as cp1252 or latin-1 ("¾È³çÇÏ¼¼¿ä"), and whole texts in UTF-8 read as CP949 where
    not a byte was lost. Only what turns back into the same bytes and becomes usual text. Not mended: what
    lost bytes ("?덈뀞"; a no-break space that became a blank, as in "voilÃ "), CP949 of a single syllable
    between ASCII, a lone pair that may be meant ("MANHÃ”").
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
    """Return the bytes that were read as latin-1 or cp1252 to give this text; None if none do."""
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
    runs = [
        (match, texts[match[0]]) for match in _UTF8_RUN.finditer(text) if plausible.fullmatch(texts[match[0]])
    ]
    certain = [
        (match, decoded) for match, decoded in runs if len(decoded) > 1 or not _may_be_meant(text, match)
    ]
    # Where all else is sound UTF-8 and something is certain, the doubtful runs are no longer doubtful.
    is_whole = len(certain) < len(runs) and _decode(_latin_bytes(text), "utf-8") is not None
    return _replace(text, runs if is_whole else certain) if certain else None


def _decode_run(run: str) -> str:
    """Return the text of one run, "" if it is none. With control characters it is sound only if the next
    round mends them.
    """
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
    """Return whether a single pair or triple can be a letter with the quotation mark, dash or ellipsis that
    follows it.
    """
    letter, signs = match[0][0], match[0][1:]
    if _C1.search(signs):
        return False
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
    if _LETTER_OR_SIGN.match(before) or _LETTER_OR_SIGN.match(after):
        return True  # the middle of something else, such as CP949
    # three bytes begin with a small letter, "â" is that of arrows and dashes: hardly a word ends in it
    if len(signs) > 1:
        return _BEHIND_A_WORD.issuperset(signs) and (letter != "â" or signs[0] == "…")
    if signs not in _BEHIND_A_LETTER or before.islower():
        return False  # "rÃ´": no capital letter stands behind a small one
    # "Å“uvre": no word begins right behind a closing sign
    goes_on = len(after) == 2 and after.isalpha() and after.islower()
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
    sound = [
        (match, run)
        for match, run in runs
        if run and (len(run) > 1 or run in _COMMON_SYLLABLES) and not _C1.search(run)
    ]
    return _replace(text, sound) if _is_korean("".join(run for _, run in sound)) else None


def _is_korean(text: str) -> bool:
    """Mostly Hangul, several syllables, and not only rare ones."""
    high = [character for character in text if character > "\x7f"]
    hangul = [character for character in high if "가" <= character <= "힣"]
    num_common = sum(character in _COMMON_SYLLABLES for character in hangul)
    return len(set(hangul)) > 1 and 10 * len(hangul) >= 7 * len(high) and 3 * num_common >= len(hangul)


def _mend_utf8_as_cp949(text: str) -> str | None:
    first = _NON_ASCII.search(text)
    # The first byte must begin a character in UTF-8; in CP949 those are Chinese characters and a few rare
    # syllables.
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
    """Return whether characters are already lost: U+FFFD, which stands for bytes that could not be read."""
    return "\ufffd" in text
