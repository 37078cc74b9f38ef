"""The examples run as they stand, on tiny data; the learner's version says which blank is open."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import write_pairs

EXAMPLES = Path(__file__).parents[2] / "examples"
BLANKS, SOLUTION = EXAMPLES / "fill_in_the_blanks.py", EXAMPLES / "fill_in_the_blanks_solution.py"
# what stands at the top of a study project's script
SETTINGS = ("per_device_train_batch_size", "max_seq_length", "max_steps", "r", "lora_alpha", "model", "dataset", "output_dir")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(path: Path) -> list[str]:
    """Return the lines from the settings on."""
    return path.read_text(encoding="utf-8").partition("# ── 1")[2].splitlines()


@pytest.mark.parametrize("name", ["fine_tune.py", "fill_in_the_blanks_solution.py"])
def test_a_script_trains_and_answers(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    script = load(EXAMPLES / name)
    assert all(hasattr(script, setting) for setting in SETTINGS)
    small = {
        "model": str(model_folder()),
        "dataset": str(write_pairs(tmp_path / "pairs.jsonl", 10)),
        "output_dir": str(tmp_path / "results"),
        "per_device_train_batch_size": 2,
        "max_seq_length": 128,
        "max_steps": 2,
        "r": 4,
        "lora_alpha": 8,
        "question": "What is the color of pill 3?",
    }
    for setting, value in small.items():
        monkeypatch.setattr(script, setting, value)
    assert script.main() in ("succeeded", "failed")  # two steps teach nothing, so a check may well fail
    assert (tmp_path / "results" / "adapter_model.safetensors").is_file()
    assert "What is the color of pill 3?" in capsys.readouterr().out


def test_an_open_blank_is_said_in_one_sentence() -> None:
    done = subprocess.run([sys.executable, str(BLANKS)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    first = next(i for i, line in enumerate(BLANKS.read_text(encoding="utf-8").splitlines(), 1) if line == "model = ____")
    assert f"{first}번째 줄의 [1]번 빈칸" in done.stderr and f"Blank [1] in line {first}" in done.stderr


def test_each_blank_is_found_in_turn_until_all_are_filled(tmp_path: Path) -> None:
    answers = [line for line in lines(SOLUTION) if line not in lines(BLANKS)]
    script = tmp_path / "filled.py"
    source = BLANKS.read_text(encoding="utf-8")
    head, mark, body = source.partition("# ── 1")
    for number, answer in enumerate(answers, 1):
        script.write_text(head + mark + body, encoding="utf-8")
        assert f"[{number}]" in load(script).open_blank()
        body = re.sub(r"^.*(?<!\")____.*$", lambda _: answer, body, count=1, flags=re.MULTILINE)  # noqa: B023 - called at once
    script.write_text(head + mark + body, encoding="utf-8")
    assert load(script).open_blank() == "" and len(answers) == 13


def test_the_solution_differs_from_the_learners_version_only_in_the_blanks() -> None:
    blanks, solution = lines(BLANKS), lines(SOLUTION)
    only_there = [line for line in blanks if line not in solution and "____" not in line]
    help_begins = blanks.index("def open_blank() -> str:")
    called = [i for i, line in enumerate(blanks) if "open_blank()" in line and i < help_begins]
    own = {*blanks[help_begins:], *blanks[called[0] : called[0] + 2]}
    assert set(only_there) <= own
    for answer in (line for line in solution if line not in blanks):
        pattern = [re.escape(line).replace("____", r"[\w.\"]+") for line in blanks if "____" in line]
        assert any(re.fullmatch(p, answer) for p in pattern), answer
