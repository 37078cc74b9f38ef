"""`python -m tools.corpus [FOLDER]`: write every file and `expected.json`, by default into tests/corpus."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from . import (
    asked,
    choices,
    damage_bytes,
    damage_json,
    damage_tables,
    damage_turns,
    encodings,
    folders,
    packed,
    shaped,
    shares,
    suffixes,
)
from .case import Case

HOME = Path(__file__).parents[2] / "tests" / "corpus"
PARTS = (
    encodings,
    shaped,
    choices,
    asked,
    packed,
    suffixes,
    shares,
    damage_json,
    damage_tables,
    damage_turns,
    damage_bytes,
    folders,
)


def all_cases() -> list[Case]:
    """Every case, in the order of its path."""
    cases = sorted((case for part in PARTS for case in part.cases()), key=lambda case: case.path)
    twice = {a.path for a, b in zip(cases, cases[1:], strict=False) if a.path == b.path}
    if twice:
        raise SystemExit(f"Two cases have the same path: {', '.join(sorted(twice))}")
    return cases


def write(folder: Path) -> int:
    """Write the corpus anew and return the number of its cases."""
    cases = all_cases()
    if folder.exists():
        shutil.rmtree(folder)
    for case in cases:
        for path, content in case.files():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    # git must not touch line ends: they are what is tested
    (folder / ".gitattributes").write_bytes(b"* -text\n")
    lines = [f"{json.dumps(case.path)}: {json.dumps(case.expected(), ensure_ascii=False)}" for case in cases]
    (folder / "expected.json").write_bytes(("{\n" + ",\n".join(lines) + "\n}\n").encode())
    return len(cases)


if __name__ == "__main__":
    print(write(Path(sys.argv[1]) if len(sys.argv) > 1 else HOME), "cases")
