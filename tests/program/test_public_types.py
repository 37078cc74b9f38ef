"""A type checker sees the public API: names, fields and arguments that do not exist are errors before
anything runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nuguna

ROOT = Path(__file__).parents[2]

# Checking torch too would take most of a minute, and nothing of it stands in the public API.
SETTINGS = """[mypy]
strict = true
follow_imports = silent
[mypy-torch.*,numpy.*,transformers.*,peft.*,rich.*,typer.*,huggingface_hub.*,jinja2.*]
follow_imports = skip
"""
WRONG = """import nuguna
reveal_type(nuguna.Request)
nuguna.Request(modle="x")
nuguna.fine_tune(nuguna.Request(), nonsense=3)
nuguna.fine_tune(nuguna.Request(), nuguna.screen("en"))
nuguna.no_such_name
"""


def test_a_type_checker_knows_the_public_api_and_accepts_the_example(tmp_path: Path) -> None:
    wrong, exports = tmp_path / "wrong.py", tmp_path / "exports.py"
    wrong.write_text(WRONG)
    exports.write_text("import nuguna\n" + "".join(f"reveal_type(nuguna.{name})\n" for name in nuguna.__all__))
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    words = ["--config-file", "mypy.ini", "--cache-dir", "cache"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *words, str(wrong), str(exports), str(ROOT / "examples" / "fine_tune.py")],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    told = checked.stdout.splitlines()
    errors = [line.partition(": error: ")[::2] for line in told if ": error: " in line]
    assert [place.rpartition("/")[2] for place, _ in errors] == ["wrong.py:3", "wrong.py:4", "wrong.py:5", "wrong.py:6"], told
    for (_, sentence), named in zip(errors, ("modle", "nonsense", "positional", "no_such_name"), strict=True):
        assert named in sentence
    revealed = [line for line in told if "Revealed type" in line and "exports.py" in line]
    assert len(revealed) == len(nuguna.__all__)
    assert not any('"Any"' in line for line in revealed), revealed
    assert any("wrong.py:2" in line and "nuguna.plan.settings.Request" in line for line in told)


def test_every_public_name_is_there_when_first_used() -> None:
    assert all(callable(getattr(nuguna, name)) for name in nuguna.__all__)
