"""Base models as data: the known ones (catalog.toml), the demo model in the package, and any model in a local
folder.

`describe_folder` reads a model's files as plain data, through the gate (checked.py): refused is what would
run code from the model's repository, unpickle its weights, or read files outside its folder. No torch, no
transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomlkit

from .checked import CheckedModel, check_model
from .shape import ModelShape

CATALOG = Path(__file__).parent / "catalog.toml"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model to fine-tune, before it is loaded."""

    id: str  # what the user types: "demo", "owner/name", or a folder
    checked: CheckedModel | None  # its files on this machine; None: to be downloaded
    num_parameters: int
    shape: ModelShape
    languages: tuple[str, ...]  # ISO 639-1, of those it is known to handle; empty: not known
    licence: str  # SPDX name or the hub's; "unknown" for a local folder
    gated: bool  # the hub gives it only to people who have accepted its terms
    context_tokens: int
    has_chat_template: bool
    download_bytes: int  # 0 when its files are on this machine
    quality: int  # order for MODEL=auto within what fits; higher is better, 0: never chosen by auto
    stored_bytes: int = 0  # of the weight files; 0: not known, usually 2 for each weight
    revision: str | None = None  # what to download instead of the hub's main branch
    max_steps: int | None = None  # the model's own best defaults
    batch_size: int | None = None
    learning_rate: float | None = None

    @property
    def folder(self) -> Path | None:
        """Where its files lie on this machine, or None."""
        return self.checked.folder if self.checked else None


@lru_cache(maxsize=1)
def load_catalog() -> tuple[BaseModel, ...]:
    """Return the known models, in the order of catalog.toml. Unknown or missing keys are a `TypeError`: our
    data is wrong then.
    """
    return tuple(_entry(raw) for raw in _catalog()["model"])


def demo_model() -> BaseModel:
    """Return the model inside the package, which needs no network; its training defaults stand in
    catalog.toml under [demo].
    """
    demo = dict(_catalog()["demo"])
    languages = tuple(demo.pop("languages"))
    return replace(describe_folder(DEMO_FOLDER), id="demo", languages=languages, **demo)


def describe_folder(folder: Path) -> BaseModel:
    """Read what a local model is. Raise `ModelError` where `check_model` refuses it."""
    checked = check_model(folder)
    return BaseModel(
        id=str(folder),
        checked=checked,
        num_parameters=checked.num_parameters,
        shape=checked.shape,
        languages=(),
        licence="unknown",
        gated=False,
        context_tokens=checked.context_tokens,
        has_chat_template=checked.tokenizer.has_chat_template,
        download_bytes=0,
        quality=0,
        stored_bytes=checked.stored_bytes,
    )


def _entry(raw: Mapping[str, Any]) -> BaseModel:
    fields = {**raw, "shape": ModelShape(**raw["shape"]), "languages": tuple(raw["languages"])}
    return BaseModel(checked=None, **fields)


@lru_cache(maxsize=1)
def _catalog() -> dict[str, Any]:
    return tomlkit.parse(CATALOG.read_text(encoding="utf-8")).unwrap()
