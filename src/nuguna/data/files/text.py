"""A file as text: unpacked, its encoding found out, its lines one after the other in little memory."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ...errors import DataError, first_line
from ...message import Message, say

READ_BYTES = 2**20
MAX_LINE_BYTES = 64 * 2**20  # a longer line is a file without line breaks, and no row of a dataset
MAX_WHOLE_BYTES = 2**30  # of formats that can only be read in one piece
_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = ((b"\x1f\x8b", "gz"), (b"\x28\xb5\x2f\xfd", "zst"))
# Bytes that are no text become these characters, one for one, so that a row knows that it is damaged.
ESCAPED = re.compile("[\udc80-\udcff]")
_ESCAPING = "nuguna-escape"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_HANGUL = re.compile("[가-힣]")
# share of the characters beyond ASCII that may be broken before the encoding counts as unknown
MAX_DAMAGED = 0.1


@dataclass(frozen=True)
class TextFile:
    """What was found out about a file of text. It can be read as often as needed."""

    path: Path
    compression: str  # "", "gz" or "zst"
    encoding: str  # one of Python's names
    newline: str  # "\n", or "\r" for a file from an old Macintosh
    digest: str  # SHA-256 of what it holds, unpacked
    num_bytes: int  # unpacked
    has_nul: bool

    def lines(self) -> Iterator[str]:
        """Lines with their ends; NUL characters, which no text needs, are left out."""
        with open_unpacked(self.path) as file:
            lines = (
                self._wide_lines(file)
                if self.encoding.startswith(("utf-16", "utf-32")) or self.newline == "\r"
                else self._lines(file)
            )
            yield from (line.replace("\0", "") for line in lines) if self.has_nul else lines

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        """In these encodings the byte of a line feed is never part of another character."""
        encoding = self.encoding
        while raw := file.readline(MAX_LINE_BYTES):
            yield raw.decode(encoding, "surrogateescape")
            # the mark stands at the very beginning alone
            encoding = "utf-8" if encoding == "utf-8-sig" else encoding
            # the rest of a line that is too long
            while len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)

    def _wide_lines(self, file: BinaryIO) -> Iterator[str]:
        codecs.register_error(_ESCAPING, _escaped)
        with io.TextIOWrapper(file, self.encoding, errors=_ESCAPING, newline=self.newline) as text:
            while line := text.readline(MAX_LINE_BYTES):
                yield line[:-1] + "\n" if self.newline == "\r" and line.endswith("\r") else line
                while len(line) == MAX_LINE_BYTES and not line.endswith(self.newline):  # as above
                    line = text.readline(MAX_LINE_BYTES)

    def text(self) -> str:
        """Return all of it. Raises `DataError` when that is more than a program should hold at once."""
        if self.num_bytes > MAX_WHOLE_BYTES:
            raise too_large(self.path.name, self.num_bytes)
        codecs.register_error(_ESCAPING, _escaped)
        with open_unpacked(self.path) as file:
            text = file.read().decode(self.encoding, _ESCAPING)
        text = text.replace("\0", "") if self.has_nul else text
        return text.replace("\r", "\n") if self.newline == "\r" else text

    def start(self, num_lines: int = 50) -> str:
        """Return the first lines, or fewer if they are very long."""
        found, size = [], 0
        for line in self.lines():
            found.append(line)
            size += len(line)
            if len(found) == num_lines or size > READ_BYTES:
                break
        return "".join(found)

    def notes(self) -> list[Message]:
        """Return what was assumed or mended, in sentences."""
        made = []
        if self.encoding not in ("utf-8", "utf-8-sig", "ascii"):
            made.append(
                say(
                    "The text encoding of {file} is {encoding}.",
                    file=self.path.name,
                    encoding=self.encoding.upper(),
                )
            )
        if self.has_nul:
            made.append(say("{file} contains NUL characters; they are left out.", file=self.path.name))
        return made


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Python's own way to keep bytes that are no text knows single bytes only, not those of UTF-16."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(
        chr(0xDC00 + byte) if byte > 127 else "\udc80" for byte in error.object[error.start : error.end]
    ), error.end


def too_large(name: str, num_bytes: int) -> DataError:
    """Return a file of a format that can only be read as one piece."""
    return DataError(
        say("{file} is too large to be read in one piece.", file=name),
        seen=say(
            "It has {size} MB; a file of this kind may have {most} MB.",
            size=num_bytes // 10**6,
            most=MAX_WHOLE_BYTES // 10**6,
        ),
        fix=say("Save it as JSONL (one JSON object per line): such a file can be any size."),
    )


def open_unpacked(path: Path) -> BinaryIO:
    """Return the bytes of a file; gzip and zstandard are unpacked on the way."""
    kind = compression(path)
    if kind == "gz":
        return cast(BinaryIO, gzip.open(path))
    if kind == "zst":
        import pyarrow

        stream = pyarrow.input_stream(str(path), compression="zstd")
        return cast(BinaryIO, io.BufferedReader(stream, READ_BYTES))
    return open(path, "rb", buffering=READ_BYTES)


def whole(path: Path) -> bytes:
    """Return all bytes of a file, unpacked. Raises `DataError` when these are too many, or the file is
    damaged.
    """
    try:
        with open_unpacked(path) as file:
            content = file.read(MAX_WHOLE_BYTES + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise damaged(path.name, error) from error
    if len(content) > MAX_WHOLE_BYTES:
        raise too_large(path.name, len(content))
    return content


def compression(path: Path) -> str:
    """By the first bytes, whatever the name says."""
    with open(path, "rb") as file:
        first = file.read(4)
    return next((kind for mark, kind in _PACKED if first.startswith(mark)), "")


def open_text(path: Path) -> TextFile:
    """Look through a file once. Raises `DataError` when it cannot be read, is damaged or is no text in a
    known encoding.
    """
    try:
        return _survey(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path.name, error) from error
    except OSError as error:  # pyarrow's complaints about a broken .zst are OSErrors without a number
        if error.errno is None:
            raise damaged(path.name, error) from error
        raise cannot_open(path, error) from error


def damaged(name: str, error: Exception) -> DataError:
    """Return a packed or binary file whose end is missing or whose bytes were changed."""
    return DataError(
        say("{file} is damaged, so it cannot be read to the end.", file=name),
        seen=say("{reason}", reason=first_line(error)),
        fix=say("Copy or download it again."),
    )


def cannot_open(path: Path, error: OSError) -> DataError:
    """Return a file that the system does not hand out."""
    return DataError(
        say("The dataset {path} cannot be opened.", path=path),
        seen=say("{reason}", reason=error.strerror or error),
        fix=say("Check that you are allowed to read the file: ls -l {path}", path=path),
    )


def _survey(path: Path) -> TextFile:
    digest, num_bytes, head, has_nul, has_newline, has_return = hashlib.sha256(), 0, b"", False, False, False
    decoder, is_utf8 = codecs.getincrementaldecoder("utf-8")(), True
    with open_unpacked(path) as file:
        while chunk := file.read(READ_BYTES):
            head = head or chunk[: 2**16]
            digest.update(chunk)
            num_bytes += len(chunk)
            has_nul = has_nul or b"\0" in chunk
            has_newline, has_return = has_newline or b"\n" in chunk, has_return or b"\r" in chunk
            is_utf8 = is_utf8 and _decodes(decoder, chunk)
    is_utf8 = is_utf8 and _decodes(decoder, b"", final=True)
    encoding = _encoding(path, head, is_utf8)
    newline = "\r" if has_return and not has_newline else "\n"
    has_nul = has_nul and not encoding.startswith(("utf-16", "utf-32"))
    return TextFile(path, compression(path), encoding, newline, digest.hexdigest(), num_bytes, has_nul)


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _encoding(path: Path, head: bytes, is_utf8: bool) -> str:
    if marked := next((name for mark, name in _MARKS if head.startswith(mark)), None):
        return marked
    # UTF-16 without a mark: most characters of most languages have a zero in one half, always the same
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) / 8 and max(even, odd) > 8 * min(even, odd):
        wide = "utf-16-le" if odd > even else "utf-16-be"
        if _decodes(codecs.getincrementaldecoder(wide)(), head, final=len(head) < 2**16):
            return wide
    if is_utf8:
        return "utf-8"
    return _other_encoding(path)


def _other_encoding(path: Path) -> str:
    """CP949 (Korean Windows; EUC-KR is part of it), Western European, or UTF-8 with a few damaged places."""
    found = {encoding: _count(path, encoding) for encoding in ("cp949", "utf-8")}
    broken, foreign, hangul = found["cp949"]
    # Western text read as CP949 gives rare syllables and Chinese characters, or breaks
    if foreign and broken <= MAX_DAMAGED * foreign and hangul >= 0.6 * (foreign - broken):
        return "cp949"
    broken, foreign, _ = found["utf-8"]
    if foreign and broken <= MAX_DAMAGED * foreign:
        return "utf-8"
    broken, foreign, _ = _count(path, "cp1252")
    if foreign and broken == 0 and foreign < 0.2 * os.path.getsize(path):
        return "cp1252"
    raise DataError(
        say("The text encoding of {path} is not known.", path=path),
        seen=say("It is neither UTF-8, UTF-16 nor CP949 (Korean Windows)."),
        fix=say("Open it in an editor or spreadsheet and save it as UTF-8."),
    )


def _count(path: Path, encoding: str) -> tuple[int, int, int]:
    """Return (broken bytes, characters beyond ASCII, syllables of everyday Korean) when read in that
    encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    broken = foreign = hangul = 0
    with open_unpacked(path) as file:
        while chunk := file.read(READ_BYTES):
            text = "".join(_NOT_ASCII.findall(decoder.decode(chunk)))
            foreign += len(text)
            broken += len(ESCAPED.findall(text))
            # KS X 1001: the 2,350 in use
            hangul += len("".join(_HANGUL.findall(text)).encode("euc_kr", "ignore")) // 2
    return broken, foreign, hangul
