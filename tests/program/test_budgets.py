"""The sizes that the house rules promise, counted: files, functions, the READMEs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_README_LINES = 250
FOLDERS = ("src", "tests", "tools", "benchmarks", "examples")
# Longer for a reason: a table, or a stand-in with all that uses it. They may shrink, and no other joins them.
LONGER = {
    "tests/prove/silent_mutations.py": 620,
    "tests/machine/test_hardware.py": 665,
    "tests/program/test_setup.py": 640,
    "tests/hub/test_datasets.py": 600,
    "tests/program/test_hostile.py": 570,
    "tests/data/test_templated.py": 450,
    "tests/tokens/test_templates.py": 440,
    "tests/hub/test_hub.py": 440,
}
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def long_functions(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{node.name}: {length} lines"


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    names = {path.relative_to(ROOT).as_posix(): num_lines(path) for path in FILES}
    assert {name: lines for name, lines in names.items() if lines > LONGER.get(name, MAX_FILE_LINES)} == {}
    assert not any(name.startswith("src/") for name in LONGER)
    assert {name for name in LONGER if names.get(name, 0) <= MAX_FILE_LINES} == set(), "these need no exception any more"


def test_no_function_is_longer_than_a_screen() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(long_functions(path.read_text(encoding="utf-8"))) for path in FILES}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_a_long_function_is_noticed() -> None:
    body = "    pass\n" * MAX_FUNCTION_LINES
    assert list(long_functions(f"def whole():\n{body}")) == [f"whole: {MAX_FUNCTION_LINES + 1} lines"]
    assert not list(long_functions(f"def whole():\n{body[9:]}"))


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_readme_is_read_in_one_go(name: str) -> None:
    assert num_lines(ROOT / name) <= MAX_README_LINES
