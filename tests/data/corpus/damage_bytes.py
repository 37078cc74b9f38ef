"""Files that hold nothing, and files that hold something else altogether."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator

from .case import Case, ready, refused, too_bad
from .words import PARAGRAPHS, PASSAGES

_TEXTS = ("jsonl", "json", "csv", "tsv", "txt", "md")
_LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0f' * 32}\nsize 73400320\n"
_PAGE = "<!DOCTYPE html>\n<html>\n<head><title>404</title></head>\n<body><p>Not found, sorry</p></body>\n</html>\n"


def _noise(name: str, count: int = 600) -> bytes:
    """Return bytes as if by chance, the same each time."""
    blocks = (hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(count // 32 + 1))
    return b"".join(blocks)[:count]


def cases() -> Iterator[Case]:
    yield from _empty()
    yield from _something_else()
    yield from _plain_texts()


def _empty() -> Iterator[Case]:
    for suffix in _TEXTS:
        yield refused(f"damage/empty/empty.{suffix}", b"", "no rows")
        yield refused(f"damage/empty/blanks.{suffix}", b"\n  \n\t\n\r\n \n", "no rows")
        yield refused(f"damage/empty/only_mark.{suffix}", codecs.BOM_UTF8, "no rows")
        yield refused(f"damage/empty/only_mark.utf-16.{suffix}", codecs.BOM_UTF16_LE, "no rows")
        yield refused(f"damage/empty/nuls.{suffix}", bytes(64), "no rows")
    for suffix in ("xlsx", "parquet", "jsonl.gz", "jsonl.zst"):
        yield refused(f"damage/empty/empty.{suffix}", b"", "")


def _something_else() -> Iterator[Case]:
    for suffix in (*_TEXTS, "xlsx", "parquet", "jsonl.gz", "jsonl.zst"):
        yield refused(f"damage/noise/noise.{suffix}", _noise(suffix), "")
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + _noise("picture")
    for suffix in ("jsonl", "csv", "txt", "parquet", "xlsx"):
        yield refused(f"damage/noise/picture.{suffix}", picture, "")
    for suffix in ("jsonl", "json", "csv", "parquet"):
        yield refused(f"damage/noise/lfs_pointer.{suffix}", _LFS.encode(), "")
        yield refused(f"damage/noise/web_page.{suffix}", _PAGE.encode(), "")


def _plain_texts() -> Iterator[Case]:
    """Plain text with bytes that are no text must not be trained as it is."""
    text = "\n\n".join((*PARAGRAPHS, *PASSAGES)).encode()
    broken = text.replace("나루정은".encode(), "나루정은".encode()[:-1], 1)
    yield too_bad("damage/text/half_a_syllable.txt", broken, 1, [(1, "")])
    yield refused("damage/text/of_two_encodings.txt", text + b"\n\n" + "\n\n".join(PASSAGES).encode("cp949"), "encoding")
    longer = "\n\n".join(f"{number}. {paragraph}" for number in range(1, 41) for paragraph in PARAGRAPHS)
    yield ready("text/long.txt", longer.encode(), "text", None, None)
    line = " ".join(f"{number}. {paragraph}" for number in range(1, 31) for paragraph in PARAGRAPHS)
    yield ready("text/one_long_line.txt", line.encode(), "text", None, None)
    yield ready("text/one_word.txt", "나루정".encode(), "text", [("text", "나루정")], 1)
    blanks = "\n\n \n" + PARAGRAPHS[0] + "\n \n\n\n" + PARAGRAPHS[1] + "\n\n\n"
    yield ready("text/blank_lines.txt", blanks.encode(), "text", [("text", blanks.strip())], 1)
