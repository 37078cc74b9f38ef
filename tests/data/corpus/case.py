"""One case: the bytes of a file, or of a folder of files, and what must be said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Bad = tuple[int, str]  # the line where a row begins, and a part of what is wrong with it
Said = Sequence[tuple[str, str]]  # (role, content) of each turn

FORMATS = {
    "jsonl": "jsonl",
    "json": "json",
    "csv": "csv",
    "tsv": "tsv",
    "xlsx": "xlsx",
    "ods": "xlsx",
    "parquet": "parquet",
    "txt": "text",
    "md": "text",
}


@dataclass(frozen=True)
class Case:
    """`path` is a name below the folder of the corpus. A value of None in `facts` is not asked for."""

    path: str
    content: bytes | Mapping[str, bytes]  # of a folder: path within it → bytes
    facts: Mapping[str, Any] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield (path below the folder of the corpus, bytes) of each file."""
        if isinstance(self.content, bytes):
            yield self.path, self.content
        else:
            yield from ((f"{self.path}/{name}", content) for name, content in self.content.items())

    def expected(self) -> dict[str, Any]:
        """Its entry in expected.json."""
        known = {name: value for name, value in self.facts.items() if value is not None}
        return known if self._is_written_by_pyarrow() else {**known, "digest": self._digest()}

    def _is_written_by_pyarrow(self) -> bool:
        """Such bytes name the release of pyarrow that wrote them: another release may write other ones."""
        return any("parquet" in path or content.startswith(b"PAR1") for path, content in self.files())

    def _digest(self) -> str:
        made = hashlib.sha256()
        for path, content in self.files():
            made.update(f"{path}\0{len(content)}\0".encode() + content)
        return made.hexdigest()[:16]


def ready(
    path: str,
    content: bytes | Mapping[str, bytes],
    shape: str | None,
    first: Said | None,
    rows: int | None,
    *,
    encoding: str | None = "utf-8",
    format: str | None = "",
    bad: Iterable[Bad] = (),
    unwanted: int = 0,
    **more: Any,
) -> Case:
    """Return a file that can be trained on. `rows` are all that it holds, `bad` those that cannot be used."""
    bad = list(bad)
    facts = {
        "verdict": "ready",
        "format": _promised(path) if format == "" else format,
        "encoding": encoding,
        "shape": shape,
        "num_rows": rows,
        "num_usable": None if rows is None else rows - len(bad) - unwanted,
        "num_left_out": len(bad),
        "num_unwanted": unwanted,
        "bad": [{"line": line, "says": says} for line, says in bad],
        "first": [list(turn) for turn in first] if first is not None else None,
    }
    return Case(path, content, {**facts, **more})


def refused(path: str, content: bytes | Mapping[str, bytes], refusal: str, **more: Any) -> Case:
    """Return a file of which nothing can be made: it cannot be opened, or it is not known what its columns
    mean.
    """
    return Case(path, content, {"verdict": "refused", "refusal": refusal, **more})


def too_bad(
    path: str, content: bytes, rows: int, bad: Iterable[Bad], *, num_bad: int = 0, unwanted: int = 0, **more: Any
) -> Case:
    """Return a file that is read to its end and refused, because too many of its rows cannot be used."""
    bad = list(bad)
    num_bad = num_bad or len(bad)
    refusal = "No row of" if num_bad == rows else f"{num_bad} of {rows} rows of"
    counts = {"num_rows": rows, "num_usable": rows - num_bad - unwanted, "num_left_out": num_bad, "num_unwanted": unwanted}
    named = [{"line": line, "says": says} for line, says in bad]
    facts = {"verdict": "refused", "refusal": refusal, "format": _promised(path), **counts, "bad": named, **more}
    return Case(path, content, facts)


def _promised(path: str) -> str | None:
    """Return the format that a name promises."""
    parts = [part for part in path.split(".") if part not in ("gz", "zst")]
    return FORMATS.get(parts[-1])
