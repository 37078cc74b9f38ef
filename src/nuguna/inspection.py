"""`nuguna data` without a screen: read a dataset, look at it as a model would, write a clean copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .catalog import BaseModel
from .data.dataset import DEMO, BadRowsError, read_all
from .data.doctor import Diagnosis, examine
from .data.encode import end_token_ids
from .data.mend import Mended, write_mended
from .data.template import with_thinking
from .errors import DataError, ModelError
from .hub import candidates
from .message import Message, say
from .runfolder import read_json
from .settings import SETTINGS, Request, split_columns
from .tokenizer import load_tokenizer, silence_libraries

_DEFAULT_LENGTH = next(setting.default for setting in SETTINGS if setting.name == "max_seq_length")


def inspect_data(request: Request, on_rows: Callable[[int], None] = lambda count: None) -> tuple[Diagnosis, str]:
    """(what was found, the model by whose tokenizer it was counted). Raises `DataError` where there is no dataset at all."""
    silence_libraries()
    began = time.perf_counter()
    columns = request.data_columns
    dataset = read_all(request.data or DEMO, split_columns(columns) if columns else (), on_rows)
    base = _base(request.model)
    assert base.folder is not None
    tokenizer = load_tokenizer(base.folder)
    if dataset.has_reasoning:
        tokenizer.chat_template = with_thinking(tokenizer.chat_template, is_on=True)
    generation = read_json(base.folder / "generation_config.json")
    end_ids = end_token_ids(tokenizer, generation.get("eos_token_id") if isinstance(generation, dict) else None)
    length = min(request.max_seq_length or _DEFAULT_LENGTH, base.context_tokens)
    found = examine(dataset, tokenizer, length, end_ids)
    return replace(found, seconds=time.perf_counter() - began), base.id


def _base(wish: str | None) -> BaseModel:
    """A model whose tokenizer is on this machine; the demo model, if none was named."""
    base = candidates("demo" if wish in (None, "auto") else str(wish))[0]
    if base.folder is None:
        raise ModelError(
            say("The tokenizer of {model} is not on this machine.", model=base.id),
            fix=say("Download the model (hf download {model}), or count with the demo model: --model demo", model=base.id),
        )
    return base


def mend_data(found: Diagnosis, path: Path, translate: Callable[[Message], str] = str) -> Mended:
    """Write the clean copy; `translate` gives the sentences of the list of changes.

    Raises `SettingError` for a file that exists, and `DataError` when nothing would be in it.
    """
    if not found.dataset.train:
        data = found.dataset
        advice = say("See what is in the file: nuguna data {source}", source=data.source)
        raise BadRowsError(data.source, data.bad_rows, data.num_bad, data.num_rows, advice=advice)
    return write_mended(found.dataset, path, translate)


def refusal_json(error: DataError) -> dict[str, Any]:
    """The document of `nuguna data --json` for a dataset of which nothing can be made."""
    facts = {"format": "", "encoding": "", "shape": "", "num_rows": 0, "num_usable": 0, "num_left_out": 0, "bad_rows": []}
    reason = {"reason": str(error.what), "seen": str(error.seen) if error.seen else "", "fix": str(error.fix)}
    return {"verdict": "refused", **reason, **facts, "num_trained_tokens": 0, "examples": []}
