"""All cases of the corpus, as files and as the verdicts that are expected."""

from __future__ import annotations

import json
from collections.abc import Iterable
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

EXPECTED_FILE = Path(__file__).parent / "expected.json"
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
    """Return every case, in the order of its path."""
    cases = sorted((case for part in PARTS for case in part.cases()), key=lambda case: case.path)
    twice = {a.path for a, b in zip(cases, cases[1:], strict=False) if a.path == b.path}
    if twice:
        raise SystemExit(f"Two cases have the same path: {', '.join(sorted(twice))}")
    return cases


def write_files(cases: Iterable[Case], folder: Path) -> None:
    for case in cases:
        for path, content in case.files():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def expected_json(cases: Iterable[Case]) -> str:
    """Return what expected.json holds: one case a line."""
    lines = [f"{json.dumps(case.path)}: {json.dumps(case.expected(), ensure_ascii=False)}" for case in cases]
    return "{\n" + ",\n".join(lines) + "\n}\n"
