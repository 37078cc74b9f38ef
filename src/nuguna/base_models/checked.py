"""What the gate has let through: loaders take these types alone, so mypy proves that nothing is loaded
unchecked.

There is one way to get a `CheckedModel`, `CheckedTokenizer` or `CheckedAdapter`: `check_model`,
`check_tokenizer` and `check_adapter`. Each needs a `_Stamp`, which only this module makes. The gate is thus
passed once, however often the folder is loaded; a loader asks `has_changed` first, and passes the gate again
where a file is not the one that was looked at.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from ..disk.json_file import read_object
from ..errors import ModelError
from ..message import say
from .gate import (
    check_adapter_files,
    check_config,
    check_folder,
    check_layers,
    check_size,
    check_tokenizer_files,
    files_read,
    is_on_another_machine,
)
from .shape import ModelShape, estimate_parameters, read_context, read_shape
from .weights import count_parameters, read_header, refused, weight_files

TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("tokenizer_config.json",),
)

# Of each file that libraries read: its name, then device, inode, size, time of writing, and of any change (of
# creation on Windows), which no ordinary program sets.
_Stamp = NewType("_Stamp", tuple[tuple[object, ...], ...])


@dataclass(frozen=True, kw_only=True)
class CheckedTokenizer:
    """A folder from which a tokenizer can be loaded. Made by `check_tokenizer` and `check_model` alone."""

    folder: Path
    has_chat_template: bool
    stamp: _Stamp


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """A folder from which a base model can be loaded, and what its files say. Made by `check_model` alone."""

    folder: Path
    tokenizer: CheckedTokenizer
    shape: ModelShape
    num_parameters: int
    context_tokens: int
    stored_bytes: int  # of the weight files
    stamp: _Stamp


@dataclass(frozen=True, kw_only=True)
class CheckedAdapter:
    """A folder from which a PEFT adapter can be loaded. Made by `check_adapter` alone."""

    folder: Path
    base_name: str  # of the model it belongs to, a folder or owner/name; "" where nothing usable is said
    stamp: _Stamp


def check_model(folder: Path) -> CheckedModel:
    """Read what a local model is from its files, none of which is executed.

    Raise `ModelError` when it is no model, is damaged, or could not be loaded without running its own code.
    """
    _require_model(folder)
    stamp = _stamp(folder)  # before anything is read, so that no change goes unseen
    check_folder(folder)
    source = str(folder / "config.json")
    config = check_config(read_object(folder / "config.json"), source=source)
    if not has_tokenizer(path.name for path in folder.iterdir()):
        raise refused(
            say("This model has no tokenizer, which turns text into numbers."),
            say(
                "{folder} has no tokenizer.json, no tokenizer.model, and no vocab.json with merges.txt",
                folder=str(folder),
            ),
        )
    tokenizer = _checked_tokenizer(folder, stamp)
    files = weight_files(folder)
    headers = [read_header(path) for path in files]
    shape = read_shape(config, source=source)
    num_parameters = count_parameters(headers, tied=shape.tied_embeddings)
    check_layers(shape.num_layers, headers, source=source)
    check_size(estimate_parameters(shape), num_parameters, source=source)
    return CheckedModel(
        folder=folder,
        tokenizer=tokenizer,
        shape=shape,
        num_parameters=num_parameters,
        context_tokens=read_context(config),
        stored_bytes=sum(path.stat().st_size for path in files),
        stamp=stamp,
    )


def check_tokenizer(folder: Path) -> CheckedTokenizer:
    """Look at a folder that holds a tokenizer, with or without a model. Raise `ModelError`."""
    stamp = _stamp(folder)
    check_folder(folder)
    return _checked_tokenizer(folder, stamp)


def check_adapter(folder: Path) -> CheckedAdapter:
    """Look at the folder of a PEFT adapter, whose base and tokenizer have checks of their own. Raise
    `ModelError`.
    """
    stamp = _stamp(folder)
    check_folder(folder)
    name = check_adapter_files(folder).get("base_model_name_or_path")
    is_usable = isinstance(name, str) and not is_on_another_machine(name)
    return CheckedAdapter(folder=folder, base_name=str(name) if is_usable else "", stamp=stamp)


def has_changed(checked: CheckedModel | CheckedTokenizer | CheckedAdapter) -> bool:
    """Return whether a file that libraries read is not the one that the gate looked at."""
    try:
        return _stamp(checked.folder) != checked.stamp
    except OSError:
        return True


def has_tokenizer(names: Iterable[str]) -> bool:
    """Return whether these files of a model hold a tokenizer."""
    present = set(names)
    return any(present.issuperset(needed) for needed in TOKENIZERS)


def _checked_tokenizer(folder: Path, stamp: _Stamp) -> CheckedTokenizer:
    config = check_tokenizer_files(folder)
    has_template = (folder / "chat_template.jinja").is_file() or bool(config.get("chat_template"))
    return CheckedTokenizer(folder=folder, has_chat_template=has_template, stamp=stamp)


def _stamp(folder: Path) -> _Stamp:
    states = ((path.relative_to(folder).as_posix(), *_state(path)) for path in files_read(folder))
    return _Stamp(tuple(sorted(states)))


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:  # a link that leads nowhere
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _require_model(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(
            say("There is no model folder {folder}", folder=str(folder)),
            seen=say("It is a file.") if folder.exists() else None,
            fix=say('Give the folder that holds config.json, a name like "Qwen/Qwen3-0.6B", or demo.'),
        )
    if (folder / "adapter_config.json").is_file():
        raise _is_adapter(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            say("This folder does not contain a model: config.json is missing."),
            seen=say("{folder}", folder=str(folder)),
            fix=say('Give the folder that holds config.json, a name like "Qwen/Qwen3-0.6B", or demo.'),
        )


def _is_adapter(folder: Path) -> ModelError:
    # With an adapter in its folder, transformers would load that too, or another base model that the adapter
    # names.
    base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    known = isinstance(base, str) and base.isprintable()
    return ModelError(
        say("This is an adapter, not a base model."),
        seen=say("{file}", file=str(folder / "adapter_config.json")),
        fix=say("Use its base model: MODEL={base}", base=shlex.quote(str(base)))
        if known
        else say("Use its base model."),
    )
