"""Private data in a text: e-mail addresses, telephone numbers, Korean resident registration numbers; and
hiding it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (not included) of a text, and what they are: "email", "phone" or
    "resident_number".
    """

    kind: str
    start: int
    end: int


_MAX_LOCAL = 64  # characters before the @ (RFC 5321, section 4.5.3.1.1)
_LOCAL_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_DOMAIN = re.compile(
    r"@((?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,6}([A-Za-z]{2,24}))(?![A-Za-z0-9_]|-[A-Za-z0-9])"
)
# "icon@2x.png" is a file
_FILE_ENDINGS = frozenset(
    "png jpg jpeg gif svg webp bmp ico pdf js ts jsx tsx css html htm json xml yml yaml txt".split()
)

# Every number we look for has at least nine characters like these. One greedy run, no alternative: linear.
_DIGITS = re.compile("[0-9][0-9][-. ()0-9\u2010-\u2013]{6,}[0-9]")
_DASH = "[-\u2010-\u2013]"
_AREA = r"(?:2|[3-6][1-5]|70|80|50[0-9]?)"  # Korean numbers after the first 0 that are not mobile phones
_NUMBER = re.compile(
    # Not the middle of a longer number, a word, an identifier or a decimal ...
    rf"(?:(?<![0-9A-Za-z_])(?<![0-9][-.\u2010-\u2013])(?<![A-Za-z]-)(?:"
    r"(?P<resident>[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"(?P<hyphen> ?[-\u2010-\u2013] ?)?[1-8][0-9]{6})"
    r"|(?P<mobile>010(?P<space> ?[-.\u2010-\u2013] ?| )[0-9]{3,4}(?P=space)[0-9]{4}|010-?[0-9]{4}-?[0-9]{4}"
    rf"|01[16-9](?P<dash>{_DASH}|\.)[0-9]{{3,4}}(?P=dash)[0-9]{{4}})"
    rf"|(?P<korean>0{_AREA}(?P<line> ?{_DASH} ?|\.)[0-9]{{3,4}}(?P=line)[0-9]{{4}}"
    rf"|0{_AREA}\) ?[0-9]{{3,4}}{_DASH}[0-9]{{4}}"
    r"|(?:\+82|82(?=-)|0082)[-. ]?(?:\(0\) ?|0)?(?:1[016-9]|2|[3-6][1-5]|70|50[0-9]?)"
    r"[-. ]?[0-9]{3,4}[-. ]?[0-9]{4})"
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
    """E-mail addresses, Korean and North American telephone numbers, Korean resident registration numbers, in
    order.

    Not seen: "name at host dot com", numbers in words or full-width digits, telephone numbers of other
    countries, of seven digits or with blanks only (apart from 010 and a country code), addresses outside
    ASCII. Not told apart: private numbers and those of an office or a hotline; a barcode or time stamp of 13
    digits that happens to be a date with the right check digit.
    """
    spans = _emails(text) if "@" in text else []
    if not _DIGITS.search(text):
        return spans
    # the number in "01012345678@naver.com" is no phone
    taken = {i for span in spans for i in range(span.start, span.end)}
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
    """Looks backwards from each @ with a domain after it: forwards, a long word without one would be read
    again and again.
    """
    spans: list[Span] = []
    for match in _DOMAIN.finditer(text):
        head = text[max(0, match.start() - _MAX_LOCAL) : match.start()]
        local = head[len(head.rstrip(_LOCAL_CHARACTERS)) :].lstrip(".%+-")
        start = match.start() - len(local)
        is_handle = start > 0 and text[start - 1] == "@"  # "@user@mastodon.social"
        if local and not (
            local.endswith(".") or is_handle or local == "git" or match[2].lower() in _FILE_ENDINGS
        ):
            spans.append(Span("email", start, match.end()))
    return spans


def _kind_of_number(text: str, match: re.Match[str]) -> str | None:
    """Return what a number of the right shape really is; None for years, barcodes and the like."""
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
    """Return the text with the letters and digits of each span as "*", save what stands on its first two
    places.

    Punctuation and blanks stay, so that one still sees what it was: "ki*@*****.***", "01*-****-****".
    """
    characters = list(text)
    for span in spans:
        for i in range(max(0, span.start) + 2, min(span.end, len(characters))):
            if text[i].isalnum():
                characters[i] = "*"
    return "".join(characters)


def masked(text: str) -> str:
    """Return the text with all private data in it masked."""
    return mask(text, find_private(text))
