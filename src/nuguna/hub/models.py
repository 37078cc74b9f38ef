"""The Hugging Face hub: what a model there is, whether it lies in the local cache, and bringing it here.

Only data comes over: safetensors weights, JSON, the tokenizer's files; never pickles and never Python. Nothing is printed, and
no message holds a token. huggingface_hub is imported inside the functions, which keeps `--help` fast.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..base_models.catalog import BaseModel, demo_model, describe_folder, has_tokenizer, load_catalog, read_context, read_shape
from ..base_models.gate import check_config, check_no_code, outside
from ..base_models.weights import INDEX, WEIGHTS, no_safetensors, weight_files
from ..disk.json_file import parse_object, shown
from ..errors import EnvironmentFault, ModelError
from ..message import say
from ..text.units import format_bytes
from .client import API_TIMEOUT_SECONDS, SPARE_DISK, is_reachable

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

# Patterns of the files that a text model needs. Adapters, other weight formats and subfolders stay where they are.
WEIGHT_PATTERNS = (WEIGHTS, "model-?????-of-?????.safetensors")
SMALL_PATTERNS = (
    *("config.json", "generation_config.json", INDEX),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json"),
)
LOOKS_LIKE_PATH = re.compile(r"[./~\\]|[A-Za-z]:[/\\]|[^/]+/[^/]+/|.*\\")  # no name on the hub does
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class _File:
    name: str
    num_bytes: int
    blob: str  # its name in the cache: the SHA-256 of a large file, the git hash of a small one


def cached_folder(model_id: str, revision: str | None = None) -> Path | None:
    """Where a model lies complete in the local cache of the hub, or None. Asks no network."""
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
    """The models that MODEL=`wish` can mean: one, or for "auto" every one at hand, the demo model last.

    At hand are the models of the catalogue that lie in the local cache, and all others of it when the hub can be reached.
    Raises `ModelError`.
    """
    if wish == "demo":
        return (demo_model(),)
    if wish != "auto":
        path = Path(wish).expanduser()
        # A folder on this machine comes before a model of the same name on the hub, as everywhere in transformers.
        return (describe_folder(path) if path.exists() or LOOKS_LIKE_PATH.match(wish) else lookup(wish),)
    online = is_reachable()
    chosen = (lookup(model.id) for model in load_catalog() if model.quality > 0)
    return (*(model for model in chosen if online or model.folder is not None), demo_model())


def lookup(model_id: str) -> BaseModel:
    """Find out what a model on the hub is: from the catalogue, the local cache, or the hub, in this order.

    Raises `ModelError` when there is no such model, no access or no network, and when it is of a kind that is never loaded.
    """
    _check_id(model_id)
    known = next((model for model in load_catalog() if model.id.casefold() == model_id.casefold()), None)
    if known is not None:
        folder = cached_folder(known.id, known.revision)
        if folder is None:
            return known
        found = describe_folder(folder)
        return replace(known, folder=folder, num_parameters=found.num_parameters, shape=found.shape, download_bytes=0)
    folder = cached_folder(model_id)
    if folder is not None:
        return replace(describe_folder(folder), id=model_id)
    with _hub_errors(model_id):
        return _from_hub(model_id)


def fetch(model: BaseModel, *, free_disk_bytes: int, on_progress: Callable[[int, int], None]) -> Path:
    """Download a model into the hub's cache and return its folder; what is there already is not downloaded again.

    `free_disk_bytes`: on the disk of the cache. `on_progress(done_bytes, total_bytes)` is called about twice a second from
    another thread, and a last time when all is done. The configuration comes first and goes through the gate, so that gigabytes
    are not spent on a model which is refused. Raises `ModelError`, or `EnvironmentFault` when the disk is too small.
    """
    if model.folder is not None:
        return model.folder
    folder = cached_folder(model.id, model.revision)
    if folder is not None:
        describe_folder(folder)
        return folder
    with _hub_errors(model.id):
        files = _files_of(_info(model.id, model.revision), model.id)
        blobs = _blobs_folder(model.id)
        missing = sum(file.num_bytes for file in files if not (blobs / file.blob).is_file())
        if missing * SPARE_DISK > free_disk_bytes:
            raise EnvironmentFault(
                say("The disk is too full for the model {model}.", model=model.id),
                seen=say(
                    "Needed: {needed} (download and a tenth to spare). Free: {free}",
                    needed=format_bytes(int(missing * SPARE_DISK)),
                    free=format_bytes(free_disk_bytes),
                ),
                fix=say("Free some space, set HF_HOME to a folder on a larger disk, or choose a smaller model."),
            )
        _gate(model.id, model.revision, {file.name for file in files})
        with _polling(blobs, files, on_progress):
            folder = _download(model.id, model.revision, [file.name for file in files])
    describe_folder(folder)
    total = sum(file.num_bytes for file in files)
    on_progress(total, total)
    return folder


def _from_hub(model_id: str) -> BaseModel:
    info = _info(model_id, None)
    files = _files_of(info, model_id)
    source = _address(model_id)
    config, has_template = _gate(model_id, None, {file.name for file in files})
    shape = read_shape(config, source=f"{source} config.json")
    card = vars(info.card_data) if info.card_data else {}
    languages = card.get("language") or ()
    weights = sum(file.num_bytes for file in files if file.name.endswith(".safetensors"))
    return BaseModel(
        id=model_id,
        folder=None,
        # The hub counts a tied output matrix that is stored twice, so this may be a little too high until it is here.
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


# Talking to the hub


def _info(model_id: str, revision: str | None) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi().model_info(model_id, revision=revision, files_metadata=True, timeout=API_TIMEOUT_SECONDS)


def _files_of(info: ModelInfo, model_id: str) -> list[_File]:
    """The files to download. Raises `ModelError` when there are no weights among them that may be loaded."""
    files = []
    for sibling in info.siblings or ():
        if any(fnmatch.fnmatchcase(sibling.rfilename, pattern) for pattern in (*WEIGHT_PATTERNS, *SMALL_PATTERNS)):
            if re.search(r"[/\\]", sibling.rfilename):  # "?" in a pattern stands for these, too
                raise outside(say("{source} names {value}", source=_address(model_id), value=shown(sibling.rfilename)))
            blob = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
            files.append(_File(sibling.rfilename, sibling.size or 0, blob or ""))
    if not any(file.name.endswith(".safetensors") for file in files):
        raise no_safetensors(_address(model_id), [sibling.rfilename for sibling in info.siblings or ()])
    return files


def _gate(model_id: str, revision: str | None, names: set[str]) -> tuple[dict[str, object], bool]:
    """Download only the two configurations and check them; returns config.json and whether there is a chat template."""
    from huggingface_hub import hf_hub_download

    documents: dict[str, dict[str, object]] = {}
    for name, check in (("config.json", check_config), ("tokenizer_config.json", check_no_code)):
        if name == "config.json" or name in names:
            path = Path(hf_hub_download(model_id, name, revision=revision))
            source = f"{_address(model_id)} {name}"
            try:
                document = parse_object(path.read_bytes())
            except (ValueError, RecursionError) as error:
                raise ModelError(
                    say("A file of this model is not readable JSON: {name}", name=name),
                    seen=say("{file}: {detail}", file=source, detail=str(error)),
                    fix=say("Choose another model, for example MODEL=demo"),
                ) from error
            documents[name] = check(document, source=source)
    has_template = "chat_template.jinja" in names or bool(documents.get("tokenizer_config.json", {}).get("chat_template"))
    return documents["config.json"], has_template


def _download(model_id: str, revision: str | None, names: Sequence[str]) -> Path:
    """One file after the other, in this thread: `snapshot_download` has threads of its own, which a Ctrl-C would wait for until
    gigabytes have come.
    """
    from huggingface_hub import hf_hub_download

    folders: set[Path] = set()
    while len(folders) != 1:  # two only where somebody published another version in between
        folders = {Path(hf_hub_download(model_id, name, revision=revision)).parent for name in names}
    return folders.pop()


def _blobs_folder(model_id: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model") / "blobs"


@contextmanager
def _polling(blobs: Path, files: list[_File], on_progress: Callable[[int, int], None]) -> Iterator[None]:
    """Report the growth of the files on disk while the body runs, whatever way the library downloads them."""
    total = sum(file.num_bytes for file in files)
    names = {file.blob: file.num_bytes for file in files}
    abandoned = {path.name for path in blobs.glob("*.incomplete")}  # of a run that was killed; not continued
    finished = threading.Event()

    def report() -> None:
        while not finished.wait(POLL_SECONDS):
            done = 0
            for path in blobs.glob("*"):
                blob = path.name.split(".")[0]
                if blob in names and path.name not in abandoned:
                    try:
                        done += min(path.stat().st_size, names[blob])
                    except OSError:  # just renamed to its final name; counted the next time
                        continue
            on_progress(min(done, total), total)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _address(model_id: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{model_id}"


# Errors, each one sentence


def _check_id(model_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in __all__

    try:
        validate_repo_id(model_id)
    except HFValidationError as error:
        raise ModelError(
            say("This is not how a model is named: {name}", name=model_id),
            fix=say('Give a name like "Qwen/Qwen3-0.6B", a folder on this machine, or demo.'),
        ) from error


@contextmanager
def _hub_errors(model_id: str) -> Iterator[None]:
    """Turn what the library raises into our errors, and keep it silent meanwhile."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # as above
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    verbosity = get_verbosity()
    set_verbosity(logging.ERROR)
    # The variable HF_HUB_DISABLE_PROGRESS_BARS overrules the functions, which then only warn.
    hides_bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    if hides_bars:
        disable_progress_bars()
    # Errors of the HTTP library are no OSErrors. Which library it is depends on the hub version; its base class is in this list.
    network = (base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError" and issubclass(base, Exception))
    expected: tuple[type[Exception], ...] = (OSError, *network)
    try:
        yield
    except expected as error:
        raise _explained(error, model_id) from error
    finally:
        set_verbosity(verbosity)
        if hides_bars:
            enable_progress_bars()


def _explained(error: BaseException, model_id: str) -> ModelError | EnvironmentFault:
    """The cause in our words. The library's own texts are left out: they run over many lines."""
    from huggingface_hub import errors

    address = _address(model_id)
    if isinstance(error, errors.GatedRepoError):
        return ModelError(
            say("The owners of {model} give it only to people who accept their terms.", model=model_id),
            seen=say("{address} refused the download.", address=address),
            fix=say("Accept the terms at {address}, then type: hf auth login   (or set HF_TOKEN)", address=address),
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        return ModelError(
            say("There is no model {model} on the hub, or it is private.", model=model_id),
            seen=say("{address} was not found.", address=address),
            fix=say("Check the spelling of owner/name. For a private model type: hf auth login   (or set HF_TOKEN)"),
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return ModelError(
            say("The hub has no config.json in {model}, so it is no model that can be trained here.", model=model_id),
            seen=say("{address}", address=address),
            fix=say("Choose another model, for example MODEL=demo"),
        )
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status in (401, 403):
        return ModelError(
            say("The hub does not let you read {model}.", model=model_id),
            seen=say("{address} answered with HTTP {status}.", address=address, status=status),
            fix=say("Type: hf auth login   (or set HF_TOKEN to a valid token)"),
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return EnvironmentFault(
            say("The model {model} could not be written to the disk.", model=model_id),
            seen=say("{problem}", problem=error.strerror),
            fix=say("Free some space, or set HF_HOME to a folder that can be written to."),
        )
    return ModelError(
        say("The hub cannot be reached, and {model} is not in the local cache.", model=model_id),
        seen=say("{address}: {problem}", address=address, problem=f"HTTP {status}" if status else type(error).__name__),
        fix=say("Connect to the internet and try again (finished files are kept), or use MODEL=demo or a folder."),
    )
