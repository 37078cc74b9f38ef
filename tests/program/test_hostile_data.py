"""Datasets and plans that mean harm, commands on hostile folders, and that everything ordinary goes on
working.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from nuguna.base_models.catalog import describe_folder
from nuguna.base_models.checked import check_adapter, check_model, check_tokenizer
from nuguna.data.files import sheets, text
from nuguna.data.files import tables as table_rows
from nuguna.data.files.read import open_dataset
from nuguna.data.files.rows import BadRow
from nuguna.errors import DataError, SettingError
from nuguna.model.load import load_base
from nuguna.model.open import open_adapter
from nuguna.plan.plan_file import read_plan
from nuguna.tokens.tokenizer import load_tokenizer
from tests.conftest import ARCHITECTURES, DEMO_MODEL
from tests.program.test_cli import nuguna

# ---- datasets


PACKERS: dict[str, tuple[str, bytes]] = {
    "jsonl.gz": ("ascii", b""),
    "csv.gz": ("ascii", b""),
    "wide.csv.gz": ("utf-16-le", b"\xff\xfe"),
    "jsonl.zst": ("ascii", b""),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_file_of_one_endless_line_takes_little_memory(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a line and the file are 32 times smaller here than they would be."""
    most, num_bytes = 2**20, 2**25
    monkeypatch.setattr(text, "MAX_LINE_BYTES", most)
    monkeypatch.setattr(table_rows, "MAX_FIELD_CHARS", most)
    encoding, mark = PACKERS[kind]
    content = mark + ("a" * num_bytes).encode(encoding)
    packed = gzip.compress(content, 1) if kind.endswith(".gz") else pyarrow.compress(content, "zstd", asbytes=True)
    (tmp_path / f"bomb.{kind}").write_bytes(packed)
    del content
    tracemalloc.start()
    try:
        tables = open_dataset(str(tmp_path / f"bomb.{kind}"))
        rows = [row for table in tables.train for row in table.items()]
        assert all(isinstance(row, BadRow) for row in rows)
    except DataError as error:
        assert error.exit_code == 2
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < num_bytes / 3, peak


@pytest.mark.parametrize("is_honest", [True, False])
def test_a_spreadsheet_that_unpacks_without_end_is_refused(
    tmp_path: Path, is_honest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive can claim that its parts are small."""
    monkeypatch.setattr(sheets, "MAX_WHOLE_BYTES", 2**24)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", bytes(2**25))
    packed = content.getvalue()
    if not is_honest:
        packed = packed.replace(struct.pack("<I", 2**25), struct.pack("<I", 7))
    (tmp_path / "bomb.xlsx").write_bytes(packed)
    with pytest.raises(DataError, match="too large"):
        sheets.first_filled_sheet(tmp_path / "bomb.xlsx")


# ---- plans

PLANS = {
    "unknown_key": "evil = 1",
    "code": "[__import__('os')]",
    "huge_number": "max_steps = " + "9" * 5000,
    "huge_hexadecimal": "max_steps = 0x" + "f" * 60_000,
    "large_number": "max_steps = 99999999999999999999",
    "infinite": "learning_rate = inf",
    "not_a_number": "learning_rate = nan",
    "nested": "model = " + "[" * 5000 + "]" * 5000,
    "nested_tables": "model" + ".a" * 5000 + " = 1",
    "list": 'model = ["demo"]',
    "table": 'model = {a = "demo"}',
    "date": "model = 2024-01-01",
    "long_text": 'model = "' + "a" * 5000 + '"',
    "nul": 'model = "a\\u0000b"',
    "long": "# " + "a" * 70_000,
    "bytes": "\udcff\udcfe\udc80",
    "twice": 'model = "demo"\nmodel = "demo"',
}


@pytest.mark.parametrize("name", PLANS)
def test_a_hostile_plan_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(PLANS[name].encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingError) as caught:
        read_plan(path)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 1000


def test_a_plan_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "plan.toml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SettingError, match="not valid TOML"):
        read_plan(tmp_path / "plan.toml")


# ---- commands: what a user sees


@pytest.mark.parametrize("command", ["train", "plan", "data", "evaluate", "ask"])
def test_a_command_on_a_hostile_folder_says_one_sentence(tmp_path: Path, model_folder: Callable[..., Path], command: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder("llama"), model)
    marker = tmp_path / "executed"
    (model / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()")
    change = {"auto_map": {"AutoConfig": "evil.E", "AutoModelForCausalLM": "evil.E"}}
    (model / "config.json").write_text(json.dumps({**json.loads((model / "config.json").read_text()), **change}))
    adapter = {"base_model_name_or_path": str(model), "peft_type": "LORA"}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "run" / "adapter_model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    words = {
        "train": ["train", "--model", str(model), "--data", "demo"],
        "plan": ["plan", "--model", str(model), "--data", "demo"],
        "data": ["data", "demo", "--model", str(model)],
        "evaluate": ["evaluate", str(model)],
        "ask": ["ask", "run", "hello"],
    }
    done = nuguna(tmp_path, *words[command])
    shown = done.stdout + done.stderr
    assert done.returncode == 2, shown
    assert "program code" in shown and "Traceback" not in shown
    assert not marker.exists()


# ---- what is ordinary


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_ordinary_model_goes_through(architecture: str, model_folder: Callable[..., Path]) -> None:
    loaded = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu")
    assert loaded.tokenizer("hello")["input_ids"]


def test_the_demo_model_and_a_run_go_through(finished_run: Path) -> None:
    describe_folder(DEMO_MODEL)
    assert open_adapter(check_adapter(finished_run)).eos_ids


def as_in_the_cache(source: Path, cache: Path) -> Path:
    """Return the files of a model as huggingface_hub keeps them: blobs, and links to them by name."""
    place = cache / "models--maker--tiny" / "snapshots" / "0123456789abcdef"
    blobs = cache / "models--maker--tiny" / "blobs"
    place.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(path for path in source.iterdir() if path.is_file()):
        shutil.copy(file, blobs / f"{number:040x}")
        (place / file.name).symlink_to(Path("../../blobs") / f"{number:040x}")
    return place


def test_a_model_in_the_cache_of_the_hub_goes_through(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    place = as_in_the_cache(model_folder("qwen3"), tmp_path / "hub")
    assert load_base(check_model(place), dtype="float32", device="cpu").tokenizer("hello")["input_ids"]
    (tmp_path / "models").symlink_to(tmp_path / "hub")  # people keep their cache on another disk
    describe_folder(tmp_path / "models" / place.relative_to(tmp_path / "hub"))


def test_several_templates_by_name_give_the_usual_one(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    assert (
        load_tokenizer(check_tokenizer(folder)).chat_template
        == load_tokenizer(check_tokenizer(model_folder("llama"))).chat_template
    )


def test_leftovers_of_where_a_tokenizer_was_made_are_no_harm(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    path = folder / "tokenizer_config.json"
    left = {"name_or_path": "/root/x", "special_tokens_map_file": os.devnull, "vocab_file": "/home/maker/gone.model"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **left}))
    assert load_tokenizer(check_tokenizer(folder))("hello")["input_ids"]
