"""Where CONTRIBUTING.md sends people there is something: each path exists, and each name is defined where it
is said to be.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PARTS_OF_NAMES = {"_bytes", "_tokens", "_seconds", "num_"}
OF_OTHERS = {"config.json"}  # a file of a model


def blocks(page: str) -> list[str]:
    """Paragraphs and the single points of lists, without longer code."""
    return re.split(r"\n\s*\n|\n(?=\d+\. |- )", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def words(block: str) -> list[str]:
    """Return what stands in backticks, the words of commands one by one."""
    return [word.removeprefix("./") for code in re.findall(r"`([^`\n]+)`", block) for word in code.split()]


def paths(block: str) -> list[str]:
    linked = re.findall(r"\]\(([^)#:]+)\)", block)
    named = [
        word for word in words(block) if re.fullmatch(r"\.?[\w-]+(/[\w.-]*)+|\.?[\w-]+\.(py|toml|txt|sh|md|json|yaml)", word)
    ]
    return [path for path in (*named, *linked) if path not in OF_OTHERS]


def names(block: str) -> list[str]:
    """Return names of constants, classes, functions and modules of Python; a word in small letters is a value
    or a command.
    """
    found = [word for word in words(block) if re.fullmatch(r"_?[A-Za-z]\w*|_\w+", word) and word not in PARTS_OF_NAMES]
    modules = [word for word in words(block) if re.fullmatch(r"(tools|tests)(\.\w+)+", word)]
    return [word for word in found if not (word.isalpha() and word.islower())] + modules


def defined_in(path: Path) -> Iterator[str]:
    """Yield what a file, or each file below a folder, gives a name to: at its top level, or in a class
    there.
    """
    for file in path.rglob("*.py") if path.is_dir() else [path] * (path.suffix == ".py"):
        nodes: list[ast.AST] = list(ast.parse(file.read_text(encoding="utf-8")).body)
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node.name
                nodes += node.body if isinstance(node, ast.ClassDef) else []
            for target in [*getattr(node, "targets", []), getattr(node, "target", None)]:
                yield from (part.id for part in ast.walk(target or ast.Pass()) if isinstance(part, ast.Name))


@pytest.mark.parametrize("path", sorted({path for block in blocks(PAGE) for path in paths(block)}))
def test_each_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


NAMED = sorted({(name, tuple(paths(block)) or ("src/nuguna",)) for block in blocks(PAGE) for name in names(block)})


@pytest.mark.parametrize(("name", "places"), NAMED, ids=[name for name, _ in NAMED])
def test_each_name_is_defined_where_it_is_said_to_be(name: str, places: tuple[str, ...]) -> None:
    if "." in name:
        file = ROOT.joinpath(*name.split("."))
        assert file.with_suffix(".py").is_file() or (file / "__main__.py").is_file()
    else:
        assert name in {found for place in places for found in defined_in(ROOT / place)}


def test_enough_is_found_on_the_page() -> None:
    assert len(NAMED) > 25 and {"PAIRS", "find_shape", "_KINDS", "Request", "SFT"} <= {name for name, _ in NAMED}


def test_what_is_gone_is_noticed() -> None:
    stale = "- New *columns*: a pair in `_PAIRS` in `src/nuguna/data/files/columns.py`, beside `src/nuguna/data/conversation.py`."
    (point,) = blocks(stale)
    assert names(point) == ["_PAIRS"] and "_PAIRS" not in set(defined_in(ROOT / paths(point)[0]))
    assert not (ROOT / paths(point)[1]).exists()
