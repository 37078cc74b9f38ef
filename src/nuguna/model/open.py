"""Open a finished run, or any PEFT adapter: its base is found, checked and loaded with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..base_models.catalog import demo_model, describe_folder
from ..base_models.gate import check_adapter, is_on_another_machine
from ..disk.run_folder import ADAPTER_CONFIG, REPORT, read_json
from ..errors import ModelError
from ..hub.models import cached_folder
from ..message import say
from ..plan.plan_file import read_run_plan
from ..tokens.tokenizer import load_tokenizer
from .adapter import reload_adapter
from .load import Loaded, load_base


def open_adapter(folder: Path) -> Loaded:
    """Base and adapter of a run folder, or of any PEFT adapter folder. Raises `ModelError`."""
    check_adapter(folder)
    dtype, device = _how_it_was_trained(folder)
    loaded = load_base(find_base(folder), dtype=dtype, device=device)
    model = reload_adapter(loaded.model, folder)
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer_config.json").is_file() else loaded.tokenizer
    return replace(loaded, model=model, tokenizer=tokenizer)


def find_base(folder: Path) -> Path:
    """The folder of the base model that an adapter names: a local folder, the demo model, or one in the hub's cache."""
    config = read_json(folder / ADAPTER_CONFIG)
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name or is_on_another_machine(name):
        raise ModelError(
            say("{folder} does not say which base model it belongs to.", folder=folder), fix=say("Train it again: ./run.sh")
        )
    report = read_json(folder / REPORT)
    if isinstance(report, dict) and report.get("model") == "demo":
        return _checked(demo_model().folder)
    if Path(name).is_dir():
        return _checked(Path(name))
    if place := cached_folder(name) if name.count("/") == 1 else None:
        return _checked(place)
    raise ModelError(
        say("The base model of this adapter is not on this machine: {name}", name=name),
        fix=say("Download it: hf download {name}", name=name),
    )


def _checked(folder: Path | None) -> Path:
    """Look at the configuration as data before anything is loaded from it."""
    assert folder is not None
    describe_folder(folder)
    return folder


def _how_it_was_trained(folder: Path) -> tuple[str, str]:
    """(dtype, device) of the run's plan where this machine has the device; else float32 on the CPU."""
    import torch

    values = read_run_plan(folder)
    dtype, device = values.get("dtype", "float32"), values.get("device", "cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return (dtype, device) if there.get(device) else ("float32", "cpu")
