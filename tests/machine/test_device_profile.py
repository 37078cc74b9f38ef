"""What differs by device stands in one table alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nuguna
from nuguna.machine.device_profile import DEVICE_PROFILES, DEVICES

SOURCE = Path(nuguna.__file__).parent
MAY_NAME_DEVICES = {Path("machine") / name for name in ("device_profile.py", "probe.py", "hardware.py")}  # table and detection


def listings(tree: ast.AST) -> Iterator[int]:
    """Lines of dict, tuple, list and set displays in which two devices or more are named."""
    for node in ast.walk(tree):
        items = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        named = {item.value for item in items if isinstance(item, ast.Constant) and item.value in DEVICES}
        if len(named) > 1:
            yield node.lineno  # type: ignore[attr-defined]


def test_every_device_has_a_profile_with_numbers_that_can_be_used() -> None:
    assert set(DEVICES) == set(DEVICE_PROFILES) == {"cuda", "mps", "cpu"}
    for profile in DEVICE_PROFILES.values():
        assert str(profile.title)
        assert min(profile.block_rows, profile.softmax_bytes, profile.base_bytes, profile.enough_tokens) > 0
        assert profile.kept_softmax_tokens >= 0 and profile.num_ahead >= 0 and 0 < profile.min_saved_share < 1
        assert all(0 < share <= 1 for share in (profile.product_share, profile.answer_share, profile.half_answer_share))
        assert profile.usual_flops_per_second > 0


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_other_module_lists_devices(path: Path) -> None:
    found = list(listings(ast.parse(path.read_text(encoding="utf-8"))))
    assert not found or path.relative_to(SOURCE) in MAY_NAME_DEVICES, f"{path}:{found}"


def test_a_second_list_would_be_found() -> None:
    for text in ('x = {"cpu": 1, "mps": 2}', 'x = ("cuda", "cpu")', 'f(["mps", "cpu"])', 'x = {"cuda", "mps"}'):
        assert list(listings(ast.parse(text))) == [1]
    assert not list(listings(ast.parse('x = ("cpu", hardware.device)')))


def test_profiles_and_sizes_need_no_torch() -> None:
    code = "import sys, nuguna.machine.device_profile, nuguna.engine.sizes; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
