"""Nothing is loaded that has not gone through the gate, and nothing goes through it twice for no reason."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nuguna import Request, fine_tune
from nuguna.base_models import checked
from nuguna.base_models.checked import check_adapter, check_model, check_tokenizer, has_changed
from nuguna.base_models.gate import check_adapter_files
from nuguna.errors import ModelError
from nuguna.model.adapter import reload_adapter
from nuguna.model.load import load_base
from nuguna.tokens.tokenizer import load_tokenizer
from tests.conftest import DEMO_MODEL, write_pairs

ROOT = Path(__file__).resolve().parents[2]
UNCHECKED = """
from pathlib import Path

from nuguna.base_models.checked import CheckedTokenizer, check_adapter, check_model
from nuguna.model.adapter import reload_adapter
from nuguna.model.load import load_base
from nuguna.model.open import open_adapter
from nuguna.tokens.tokenizer import load_tokenizer

folder = Path("x")
base = check_model(folder)
model = load_base(base, dtype="float32", device="cpu").model
load_tokenizer(base.tokenizer)
open_adapter(check_adapter(folder))
load_base(folder, dtype="float32", device="cpu")  # refused
load_tokenizer(folder)  # refused
load_tokenizer(base)  # refused
open_adapter(folder)  # refused
reload_adapter(model, folder)  # refused
reload_adapter(model, base)  # refused
CheckedTokenizer(folder=folder, has_chat_template=True, stamp=())  # refused
"""
COUNTED = ("check_config", "check_tokenizer_files", "check_adapter_files", "check_folder")


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return how often each part of the gate was passed."""
    counts: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., Any]:
        real = getattr(checked, name)

        def counted(*args: Any, **given: Any) -> Any:
            counts[name] += 1
            return real(*args, **given)

        return counted

    for name in COUNTED:
        monkeypatch.setattr(checked, name, counting(name))
    return counts


@pytest.fixture
def folder(tmp_path: Path, model_folder: Callable[..., Path]) -> Path:
    """Return a model of one's own that may be spoiled."""
    shutil.copytree(model_folder("llama"), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
def test_mypy_refuses_to_load_what_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "unchecked.py").write_text(UNCHECKED)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(tmp_path / "unchecked.py")]
    # in the project's folder, where mypy keeps what it knows of the modules that are imported
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT / "src")}, capture_output=True, text=True)
    wanted = [number for number, line in enumerate(UNCHECKED.splitlines(), 1) if line.endswith("# refused")]
    found = re.findall(r"unchecked\.py:(\d+): error: .*\[(.*)\]", done.stdout)
    assert found == [(str(number), "arg-type") for number in wanted], done.stdout + done.stderr


def test_only_these_files_load_anything() -> None:
    source = ROOT / "src" / "nuguna"
    loads = re.compile(r"^(?!\s*[\"#]).*\.from_pretrained\(", re.M)  # the model card shows others how
    found = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if loads.search(path.read_text("utf-8"))}
    assert found == {"model/load.py", "model/adapter.py", "tokens/tokenizer.py"}


def test_a_run_passes_the_gate_once_for_each_folder(tmp_path: Path, passed: Counter[str]) -> None:
    """The demo model is loaded twice, for the training and for the proof; the saved adapter and its tokenizer
    once.
    """
    data = write_pairs(tmp_path / "pairs.jsonl", 12)
    fine_tune(Request(model="demo", data=str(data), output_dir=str(tmp_path / "results"), max_steps=2, batch_size=2))
    assert passed == {"check_config": 1, "check_tokenizer_files": 2, "check_adapter_files": 1, "check_folder": 3}


def test_a_folder_that_has_not_changed_is_not_looked_at_again(passed: Counter[str]) -> None:
    base = check_model(DEMO_MODEL)
    before = passed.copy()
    load_base(base, dtype="float32", device="cpu")
    load_tokenizer(base.tokenizer)
    assert passed == before and not has_changed(base)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_was_changed_after_the_check_is_refused(folder: Path, name: str) -> None:
    base = check_model(folder)
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**document, "auto_map": {"AutoModelForCausalLM": "evil.Evil"}}))
    with pytest.raises(ModelError, match="program code"):
        load_base(base, dtype="float32", device="cpu")


def test_a_model_that_was_exchanged_by_one_of_equal_size_and_time_is_noticed(folder: Path, tmp_path: Path) -> None:
    base = check_model(folder)
    was = (folder / "config.json").stat()
    (tmp_path / "other.json").write_bytes((folder / "config.json").read_bytes().replace(b"llama", b"lLama"))
    os.utime(tmp_path / "other.json", ns=(was.st_atime_ns, was.st_mtime_ns))
    (tmp_path / "other.json").replace(folder / "config.json")
    with pytest.raises(ModelError, match="what kind of model"):
        load_base(base, dtype="float32", device="cpu")


def test_files_that_came_or_went_after_the_check_are_noticed(folder: Path) -> None:
    base = check_model(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a base model"):
        load_base(base, dtype="float32", device="cpu")
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="no model folder"):
        load_base(base, dtype="float32", device="cpu")


def test_a_tokenizer_and_an_adapter_that_were_changed_after_the_check_are_refused(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    no_model: Any = None  # it is not come to
    tokenizer, adapter = check_tokenizer(run), check_adapter(run)
    (run / "adapter_config.json").write_text('{"auto_map": 1}')
    with pytest.raises(ModelError, match="program code"):
        reload_adapter(no_model, adapter)
    (run / "chat_template.jinja").write_text("{{ ''.__class__ }}")
    with pytest.raises(ModelError, match="inside the program"):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize("kind", [["LORA"], {"LORA": 1}, None, 7])
def test_a_kind_of_adapter_that_is_no_name(kind: object, finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run, tmp_path / "run")
    path = tmp_path / "run" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_type": kind}))
    with pytest.raises(ModelError, match="not open this kind of adapter"):
        check_adapter_files(tmp_path / "run")
