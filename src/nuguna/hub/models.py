"""A model on the Hugging Face hub: what it is, whether it lies in the local cache, and bringing it here.

Only data comes over: safetensors weights, JSON, the tokenizer's files; never pickles and never Python.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base_models.catalog import BaseModel, demo_model, describe_folder, load_catalog
from ..base_models.checked import CheckedModel, check_model, has_tokenizer
from ..base_models.gate import check_config, check_no_code, outside
from ..base_models.shape import read_context, read_shape
from ..base_models.weights import INDEX, WEIGHTS, no_safetensors, weight_files
from ..disk.json_file import read_object, shown
from ..errors import ModelError
from ..message import say
from .client import File, Repository, ask, asking, download, files_of, is_reachable

# Patterns of the files that a text model needs. Adapters, other weight formats and subfolders stay where they
# are.
WEIGHT_PATTERNS = (WEIGHTS, "model-?????-of-?????.safetensors")
SMALL_PATTERNS = (
    *f"config.json generation_config.json {INDEX} chat_template.jinja chat_template.json".split(),
    *"vocab.json merges.txt".split(),
    *"tokenizer.json tokenizer_config.json tokenizer.model special_tokens_map.json added_tokens.json".split(),
)
LOOKS_LIKE_PATH = re.compile(r"[./~\\]|[A-Za-z]:[/\\]|[^/]+/[^/]+/|.*\\")  # no name on the hub does


def cached_folder(model_id: str, revision: str | None = None) -> Path | None:
    """Return where a model lies complete in the local cache of the hub, or None. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    _check_id(model_id)
    config = try_to_load_from_cache(model_id, "config.json", revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        weight_files(folder)
    except ModelError:
        return None
    return folder if has_tokenizer(path.name for path in folder.iterdir()) else None


def candidates(wish: str) -> tuple[BaseModel, ...]:
    """Return the models that MODEL=`wish` can mean: one, or for "auto" every one at hand, the demo model
    last.

    At hand are the models of the catalogue that lie in the local cache, and all others of it when the hub can
    be reached. Raises `ModelError`.
    """
    if wish == "demo":
        return (demo_model(),)
    if wish != "auto":
        path = Path(wish).expanduser()
        # A folder on this machine comes before a model of the same name on the hub, as everywhere in
        # transformers.
        return (describe_folder(path) if path.exists() or LOOKS_LIKE_PATH.match(wish) else lookup(wish),)
    online = is_reachable()
    chosen = (lookup(model.id) for model in load_catalog() if model.quality > 0)
    return (*(model for model in chosen if online or model.folder is not None), demo_model())


def lookup(model_id: str) -> BaseModel:
    """Find out what a model on the hub is: from the catalogue, the local cache, or the hub, in this order.

    Raises `ModelError` when there is no such model, no access or no network, and when it is of a kind that is
    never loaded.
    """
    _check_id(model_id)
    known = next((model for model in load_catalog() if model.id.casefold() == model_id.casefold()), None)
    if known is not None:
        folder = cached_folder(known.id, known.revision)
        if folder is None:
            return known
        found = check_model(folder)
        return replace(
            known, checked=found, num_parameters=found.num_parameters, shape=found.shape, download_bytes=0
        )
    folder = cached_folder(model_id)
    if folder is not None:
        return replace(describe_folder(folder), id=model_id)
    with asking(repository := Repository(model_id)):
        return _from_hub(repository)


def fetch(model: BaseModel, *, on_progress: Callable[[int, int], None]) -> CheckedModel:
    """Return a model's files on this machine, checked; those that are missing are downloaded into the hub's
    cache.

    `on_progress(done_bytes, total_bytes)` is called as in `client.download`. The configuration comes first
    and goes through the gate, so that gigabytes are not spent on a model which is refused. Raise
    `ModelError`, or `EnvironmentFault` when the disk is too small.
    """
    if model.checked is not None:
        return model.checked
    folder = cached_folder(model.id, model.revision)
    if folder is not None:
        return check_model(folder)
    with asking(repository := Repository(model.id)):
        info = ask(repository, model.revision)
        files = _needed(files_of(info), repository)
        _gate(repository, info.sha, {file.name for file in files})
        folder = download(repository, files, commit=info.sha, branch=model.revision, on_progress=on_progress)[
            0
        ].parent
    return check_model(folder)


def _from_hub(repository: Repository) -> BaseModel:
    info = ask(repository)
    files = _needed(files_of(info), repository)
    config, has_template = _gate(repository, info.sha, {file.name for file in files})
    shape = read_shape(config, source=f"{repository.address} config.json")
    card = vars(info.card_data) if info.card_data else {}
    languages = card.get("language") or ()
    weights = sum(file.num_bytes for file in files if file.name.endswith(".safetensors"))
    return BaseModel(
        id=repository.name,
        checked=None,
        # The hub counts a tied output matrix that is stored twice, so this may be a little too high until it
        # is here.
        num_parameters=info.safetensors.total if info.safetensors else weights // 2,
        shape=shape,
        languages=(languages,) if isinstance(languages, str) else tuple(map(str, languages)),
        licence=str(card.get("license_name") or card.get("license") or "unknown"),
        gated=bool(info.gated),
        context_tokens=read_context(config),
        has_chat_template=has_template,
        download_bytes=sum(file.num_bytes for file in files),
        quality=0,
    )


def _needed(files: Iterable[File], repository: Repository) -> list[File]:
    """Return the files to download. Raise `ModelError` when there are no weights among them that may be
    loaded.
    """
    there = list(files)
    wanted = [
        file
        for file in there
        if any(fnmatch.fnmatchcase(file.name, p) for p in (*WEIGHT_PATTERNS, *SMALL_PATTERNS))
    ]
    # "?" in a pattern stands for these
    if stray := next((file.name for file in wanted if re.search(r"[/\\]", file.name)), None):
        raise outside(say("{source} refers to {value}", source=repository.address, value=shown(stray)))
    if not any(file.name.endswith(".safetensors") for file in wanted):
        raise no_safetensors(repository.address, [file.name for file in there])
    return wanted


def _gate(repository: Repository, commit: str | None, names: set[str]) -> tuple[dict[str, Any], bool]:
    """Download only the two configurations and check them. Return config.json and whether there is a chat
    template.
    """
    from huggingface_hub import hf_hub_download

    if "config.json" not in names:
        raise ModelError(
            say(
                "On the hub, {model} has no config.json, so it cannot be trained here.", model=repository.name
            ),
            seen=say("{address}", address=repository.address),
            fix=say("Choose another model, for example MODEL=demo"),
        )
    documents: dict[str, dict[str, Any]] = {}
    for name, check in (("config.json", check_config), ("tokenizer_config.json", check_no_code)):
        if name in names:
            document = read_object(Path(hf_hub_download(repository.name, name, revision=commit)))
            documents[name] = check(document, source=f"{repository.address} {name}")
    has_template = "chat_template.jinja" in names or bool(
        documents.get("tokenizer_config.json", {}).get("chat_template")
    )
    return documents["config.json"], has_template


def _check_id(model_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in __all__

    try:
        validate_repo_id(model_id)
    except HFValidationError as error:
        raise ModelError(
            say("This is not a valid model name: {name}", name=model_id),
            fix=say('Give a name like "Qwen/Qwen3-0.6B", a folder on this machine, or demo.'),
        ) from error
