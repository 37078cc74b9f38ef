"""The page on the architecture and its picture are held against the imports: wings, their order, who may know
plan and torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import tower

PAGES = [tower.ROOT / "docs" / name for name in ("architecture.md", "architecture.ko.md")]
# the wings whose files may import torch at module level: those that handle tensors
WITH_TENSORS = {"tokens", "engine", "model", "train", "measure", "prove"}


def modules() -> Iterator[tuple[str, Path]]:
    """Yield each module of the program with the wing it belongs to."""
    for path in sorted(tower.SOURCE.rglob("*.py")):
        yield path.relative_to(tower.SOURCE).parts[0].removesuffix(".py"), path


def imports_plan(path: Path) -> bool:
    return "plan" in tower.imported(path)


def test_the_picture_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tower", "--check"])
    tower.main()


def test_a_stale_picture_is_noticed_and_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "architecture.svg"
    stale.write_text(tower.picture().replace("run imports plan", "run imports text"), encoding="utf-8")
    before = stale.read_bytes()
    monkeypatch.setattr(tower, "PICTURE", stale)
    monkeypatch.setattr("sys.argv", ["tower", "--check"])
    with pytest.raises(SystemExit, match="stale"):
        tower.main()
    assert stale.read_bytes() == before


def test_every_wing_stands_in_the_tower_and_has_its_words() -> None:
    wings = [wing for floor in tower.floors() for wing in floor]
    assert set(wings) == {wing for wing, _ in modules() if not wing.startswith("__")}
    assert set(wings) == set(tower.WORDS)


def test_no_wing_imports_one_of_its_own_floor_or_above() -> None:
    floor_of = {wing: number for number, floor in enumerate(tower.floors()) for wing in floor}
    climbs = [(wing, other) for wing, used in tower.imports().items() for other in used if floor_of[other] <= floor_of[wing]]
    assert not climbs


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_names_every_wing_in_the_order_of_the_tower(path: Path) -> None:
    named = re.findall(r"^\| `(\w+)` \|", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [wing for floor in tower.floors() for wing in floor]


def test_below_the_stages_only_plan_report_and_the_opening_of_a_run_know_the_plan() -> None:
    order = [wing for floor in tower.floors() for wing in floor]
    below = set(order[order.index("stages") + 1 :]) - {"plan", "report"}
    knowing = [path.relative_to(tower.SOURCE).as_posix() for wing, path in modules() if wing in below and imports_plan(path)]
    assert knowing == ["model/open.py"]


def test_torch_is_imported_at_module_level_only_where_tensors_are_handled() -> None:
    found = set()
    for wing, path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] in ("torch", "transformers", "peft") for name in names):
                found.add(wing)
    assert found == WITH_TENSORS


def test_the_reader_of_imports_sees_every_way_to_import() -> None:
    assert {"stages", "report", "plan"} <= set(tower.imported(tower.SOURCE / "run.py"))
    assert set(tower.imported(tower.SOURCE / "model" / "open.py")) >= {"plan", "base_models", "errors"}
