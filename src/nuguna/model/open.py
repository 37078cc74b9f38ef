"""Open a finished run, or any PEFT adapter: its base is found, checked and loaded with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..base_models.catalog import DEMO_FOLDER
from ..base_models.checked import CheckedAdapter, CheckedModel, check_model, check_tokenizer
from ..disk.run_folder import REPORT, read_json
from ..errors import ModelError
from ..hub.models import cached_folder
from ..machine.probe import is_available
from ..message import say
from ..plan.plan_file import read_run_plan
from ..tokens.tokenizer import load_tokenizer
from .adapter import reload_adapter
from .load import Loaded, load_base


def open_adapter(adapter: CheckedAdapter) -> Loaded:
    """Load an adapter, of a run or any other, with its base and its own tokenizer if it has one. Raise
    `ModelError`.
    """
    folder = adapter.folder
    dtype, device = _how_it_was_trained(folder)
    loaded = load_base(find_base(adapter), dtype=dtype, device=device)
    model = reload_adapter(loaded.model, adapter)
    has_tokenizer = (folder / "tokenizer_config.json").is_file()
    return replace(
        loaded,
        model=model,
        tokenizer=load_tokenizer(check_tokenizer(folder)) if has_tokenizer else loaded.tokenizer,
    )


def find_base(adapter: CheckedAdapter) -> CheckedModel:
    """Return the base model that an adapter names: a local folder, the demo model, or one in the hub's
    cache.
    """
    folder, name = adapter.folder, adapter.base_name
    if not name:
        raise ModelError(
            say("{folder} does not say which base model it belongs to.", folder=folder),
            fix=say("Train it again: ./run.sh"),
        )
    report = read_json(folder / REPORT)
    if isinstance(report, dict) and report.get("model") == "demo":
        return check_model(DEMO_FOLDER)
    if Path(name).is_dir():
        return check_model(Path(name))
    if place := cached_folder(name) if name.count("/") == 1 else None:
        return check_model(place)
    raise ModelError(
        say("The base model of this adapter is not on this machine: {name}", name=name),
        fix=say("Download it: hf download {name}", name=name),
    )


def _how_it_was_trained(folder: Path) -> tuple[str, str]:
    """Return (dtype, device) of the run's plan where this machine has the device; else float32 on the CPU."""
    values = read_run_plan(folder)
    dtype, device = values.get("dtype", "float32"), values.get("device", "cpu")
    return (dtype, device) if is_available(device) else ("float32", "cpu")
