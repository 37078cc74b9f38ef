"""A dataset on the Hugging Face hub: which of its files are wanted, and bringing them into the hub's local
cache.

Only tables come over: parquet, JSON, CSV, text, spreadsheets; never program code, pickles or archives, and
nothing that a dataset brings along is run.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..message import Message, say
from .client import REFUSALS, File, Repository, ask, asking, download, files_of, network_errors, status_of

# The hub's copy of most datasets as CONFIG/SPLIT/0000.parquet. Of a large one it holds only a beginning, in
# CONFIG/partial-SPLIT; of a split with over 10,000 files it is CONFIG/SPLIT-part0/0000.parquet. No name of a
# split has a "-". https://huggingface.co/docs/dataset-viewer/parquet, and libcommon/parquet_utils.py of
# huggingface/dataset-viewer
PARQUET_BRANCH = "refs/convert/parquet"
PARTIAL = "/partial-"
# In order of preference: what stands last is most often not the data but something said about it.
FILE_KINDS = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv", ".xlsx", ".xls", ".ods", ".json", ".txt")
COMPRESSIONS = (".gz", ".zst")
NEVER = tuple(
    ".py .ipynb .sh .pkl .pickle .joblib .pt .pth .bin .npy .npz .zip .tar .tar.gz .tar.zst .tgz "
    ".rar .7z".split()
)
# the first one there is measures the result
HELDOUT_NAMES = ("validation", "valid", "val", "dev", "eval", "test")
MAX_NAMED = 8

_OWNER_NAME = r"(?![^:]*(?:--|\.\.))\w(?:[\w.-]{0,94}\w)?/\w(?:[\w.-]{0,94}\w)?(?<!\.git)"
_SOURCE = re.compile(rf"({_OWNER_NAME})((?::[^:/\\<>|?*\x00-\x1f\x7f]+){{0,2}})", re.ASCII)
_PARQUET_PATH = re.compile(r"([^/]+)/(?:partial-)?([^/-]+)(?:-part\d+)?/\d+\.parquet")  # configuration, split
_NUMBERED = re.compile(r"(?P<series>.*?)(?P<number>\d{2,})(?:\.parquet|-of-(?P<total>\d{2,}).*)")
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f\\]|^/|(?:^|/)(?:\.\.(?:/|\Z)|[^/]:)")
_NO_DATA = re.compile(
    r"dataset_infos?\.json|((readme|licen[cs]e)([-_.].*)?|copying|notice|citation|requirements)\.txt"
)
_SPLIT_WORDS = {
    "train": "train training",
    "validation": "validation valid val dev eval evaluation",
    "test": "test testing",
}
_SPLIT_OF_WORD = {word: split for split, words in _SPLIT_WORDS.items() for word in words.split()}
_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(_SPLIT_OF_WORD)})(?![a-z])")


@dataclass(frozen=True)
class HubDataset:
    """The local files of a dataset on the hub, and what was chosen of it."""

    name: str  # owner/name
    config: str  # "" when the repository knows none
    split: str  # the one that is trained on
    train: tuple[Path, ...]  # in order
    # of the validation (else test) split; () if there is none or the user named a split
    heldout: tuple[Path, ...]
    notes: tuple[Message, ...]  # what was chosen, and what else there is


@dataclass(frozen=True)
class _Listing:
    """The data files of one commit, on the hub or in the local cache."""

    branch: str | None  # None: the main one
    commit: str
    files: Mapping[str, File]  # by path
    configs: Mapping[str, Mapping[str, tuple[str, ...]]]  # configuration → split → paths in order
    folder: Path | None = None  # in the cache, which was asked instead of the hub


def is_hub_name(source: str) -> bool:
    """Return whether `source` means a dataset on the hub: owner/name[:part[:part]]. Whatever may be a file
    here does not.
    """
    found = _SOURCE.fullmatch(source)
    if found is None or found[1].lower().endswith((*FILE_KINDS, *COMPRESSIONS, *NEVER)):
        return False
    return not (os.path.exists(source) or os.path.exists(found[1]))


def fetch_dataset(source: str) -> HubDataset:
    """Download the files of owner/name, owner/name:split, owner/name:config or owner/name:config:split into
    the hub's cache.

    Without a network, what lies in the cache is taken. Raises `DataError` when there is no such dataset or
    part, no access, or nothing that may be read; `EnvironmentFault` when the disk is too small.
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise DataError(
            say("This is not a valid name for a dataset on the hub: {name}", name=repr(source)),
            fix=say(
                "Type DATASET=owner/name, owner/name:split or owner/name:configuration:split, or the path of "
                "a file."
            ),
        )
    name, parts = found[1], tuple(found[2].split(":")[1:])
    with asking(repository := Repository(name, "dataset")):
        try:
            listing = _ask_hub(repository)
        except network_errors() as error:
            if status_of(error) in REFUSALS or (cached := _ask_cache(name)) is None:
                raise
            listing = cached
        config, split, heldout = _choose(name, parts, listing)
        files, heldout_files = listing.configs[config][split], listing.configs[config].get(heldout, ())
        paths = _bring(repository, listing, (*files, *heldout_files))
    notes = tuple(_notes(name, parts, listing, (config, split, heldout)))
    return HubDataset(name, config, split, paths[: len(files)], paths[len(files) :], notes)


# What there is


def _ask_hub(repository: Repository) -> _Listing:
    from huggingface_hub.errors import HfHubHTTPError

    for branch in (PARQUET_BRANCH, None):
        try:
            info = ask(repository, branch)
        except HfHubHTTPError as error:
            if branch is None or error.response.status_code != 404:
                raise
            continue  # there is no such branch
        files = files_of(info)
        listing = _listed(repository.name, branch, info.sha or "main", files)
        if listing.configs:
            return listing
    raise _no_data(repository.name, [file.name for file in files])


def _ask_cache(name: str) -> _Listing | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for branch in (PARQUET_BRANCH, None):
        try:
            # No pattern at all: only the folder is wanted, whatever may be missing in it.
            found = snapshot_download(
                name, repo_type="dataset", revision=branch, allow_patterns=[], local_files_only=True
            )
        except LocalEntryNotFoundError:
            continue
        folder = Path(found)
        files = [
            File(path.relative_to(folder).as_posix(), 0, "") for path in folder.rglob("*") if path.is_file()
        ]
        listing = _listed(name, branch, folder.name, files, folder)
        if listing.configs:
            return listing
    return None


def _listed(
    name: str, branch: str | None, commit: str, there: Iterable[File], folder: Path | None = None
) -> _Listing:
    files = {file.name: file for file in sorted(there, key=lambda file: file.name) if _kind(file.name)}
    if unsafe := next((path for path in files if _UNSAFE_PATH.search(path)), None):
        raise DataError(
            say("The dataset {name} has a file with an unsafe name, so nothing is downloaded.", name=name),
            seen=say("{file}", file=ascii(unsafe)),
            fix=say("Choose another dataset, for example DATASET=demo"),
        )
    return _Listing(branch, commit, files, _by_folder(files) if branch else _by_name(files), folder)


def _kind(path: str) -> str:
    """Return the ending of a data file without its compression; "" for all that is none."""
    *folders, file = _uncompressed(path.lower()).split("/")
    if _NO_DATA.fullmatch(file) or any(
        part.startswith(".") and part[:2] != ".." for part in (*folders, file)
    ):
        return ""
    return next((kind for kind in FILE_KINDS if file.endswith(kind)), "")


def _uncompressed(path: str) -> str:
    return path[: path.rindex(".")] if path.lower().endswith(COMPRESSIONS) else path


def _by_folder(paths: Collection[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Configurations and their splits in the hub's copy."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in paths:
        if match := _PARQUET_PATH.fullmatch(path):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(path)
    return {
        config: {
            split: tuple(file for file in files if PARTIAL not in file) or tuple(files)
            for split, files in splits.items()
        }
        for config, splits in found.items()
    }


def _by_name(paths: Collection[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the splits of a repository's own files: a word in the file's name decides, else one in the
    nearest folder's name.
    """
    found: dict[str, list[str]] = {}
    for path in paths:
        if _uncompressed(path) == path or _uncompressed(path) not in paths:  # else the same once more
            words = (_WORD.search(part) for part in reversed(path.lower().split("/")))
            word = next((match[0] for match in words if match), "")
            found.setdefault(_SPLIT_OF_WORD.get(word, ""), []).append(path)
    unnamed = found.pop("", [])
    if unnamed and "train" not in found:
        found["train"] = unnamed
    splits = {}
    for split, files in found.items():
        kinds = {file: _kind(file).replace(".ndjson", ".jsonl") for file in files}
        # one kind: a second one is the same data again, or not data
        best = min(kinds.values(), key=FILE_KINDS.index)
        splits[split] = tuple(file for file in files if kinds[file] == best)
    return {"": splits} if splits else {}


# What is taken


def _choose(name: str, parts: tuple[str, ...], listing: _Listing) -> tuple[str, str, str]:
    """Configuration, split, and the split that measures the result ("" for none)."""
    configs = listing.configs
    keys = (
        ("config", "split")
        if len(parts) == 2
        else ("config",)
        if parts and parts[0] in configs
        else ("split",)
    )
    named = dict(zip(keys, parts, strict=False))
    pool = [
        c
        for c in configs
        if named.get("config", c) == c and ("split" not in named or named["split"] in configs[c])
    ]
    if not pool:
        raise _no_part(name, ":".join(parts), listing)
    config = "default" if "default" in pool else min(pool)
    splits = configs[config]
    if "split" in named:
        return config, named["split"], ""
    # The cache may hold no more than the test split, because somebody once asked for that.
    if "train" not in splits and (
        len(splits) > 1 or (listing.folder is not None and min(splits) in HELDOUT_NAMES)
    ):
        raise DataError(
            say(
                "The dataset {name} has no train split, so you have to choose one.",
                name=_written(name, config),
            ),
            seen=say("Available: {parts}", parts=_some(splits)),
            fix=say("For example: DATASET={example}", example=_written(name, config, min(splits))),
        )
    split = "train" if "train" in splits else min(splits)
    heldout = next((other for other in HELDOUT_NAMES if other in splits and other != split), "")
    return config, split, heldout


def _written(*parts: str) -> str:
    return ":".join(part for part in parts if part)


def _some(names: Iterable[str]) -> str | Message:
    listed = sorted(names)
    text = ", ".join(listed[:MAX_NAMED])
    return (
        say("{names} and {count} more", names=text, count=len(listed) - MAX_NAMED)
        if listed[MAX_NAMED:]
        else text
    )


def _notes(
    name: str, parts: tuple[str, ...], listing: _Listing, choice: tuple[str, str, str]
) -> Iterator[Message]:
    config, split, heldout = choice
    splits = listing.configs[config]
    if listing.folder is not None:
        yield say(
            "The hub cannot be reached; using the local cache: {part}", part=_written(name, config, split)
        )
    if config not in parts and (others := set(listing.configs) - {config}):
        yield say(
            "Using configuration {config} of {name}; others: {others}",
            config=config,
            name=name,
            others=_some(others),
        )
    if split not in parts and (others := set(splits) - {split, heldout}):
        yield say(
            "Training on split {split} of {name}; others: {others}",
            split=split,
            name=name,
            others=_some(others),
        )
    if heldout:
        yield say(
            "Split {split} of {name} is used to measure the result and is not trained on.",
            split=heldout,
            name=name,
        )
    if PARTIAL in splits[split][0]:
        yield say(
            "{name} is large: the hub offers only its beginning for download, so only that is used.",
            name=name,
        )
    if left_out := set(listing.files).difference(
        *(files for splits in listing.configs.values() for files in splits.values())
    ):
        yield say("Files of {name} that were left out: {files}", name=name, files=_some(left_out))


# Bringing it here


def _bring(repository: Repository, listing: _Listing, files: tuple[str, ...]) -> tuple[Path, ...]:
    """Return where the files lie on this machine, after downloading what is not there."""
    if listing.folder is None:
        wanted = [listing.files[file] for file in files]
        return tuple(download(repository, wanted, commit=listing.commit, branch=listing.branch))
    if not _is_complete(listing, files):
        raise DataError(
            say(
                "The hub cannot be reached, and {name} is not complete in the local cache.",
                name=repository.name,
            ),
            seen=say("Available: {parts}", parts=_some(files)),
            fix=say("Connect to the internet and try again: only what is missing is downloaded."),
        )
    return tuple(listing.folder / file for file in files)


def _is_complete(listing: _Listing, files: tuple[str, ...]) -> bool:
    """Return whether no number is missing, as far as the names of the files tell: 0000.parquet,
    train-00000-of-00003.csv.
    """
    matches = [
        match for match in map(_NUMBERED.fullmatch, files) if match and (match["total"] or listing.branch)
    ]
    counts = Counter(match["series"] for match in matches)
    return all(
        counts[match["series"]] >= int(match["total"] or int(match["number"]) + 1) for match in matches
    )


# Errors, each one sentence


def _no_part(name: str, part: str, listing: _Listing) -> DataError:
    what = say("The dataset {name} has no part {part}.", name=name, part=part)
    if listing.folder is not None:
        what = say(
            "The hub cannot be reached, and {part} of {name} is not in the local cache.", part=part, name=name
        )
    there = [_written(config, split) for config, splits in listing.configs.items() for split in splits]
    fix = say("For example: DATASET={example}", example=_written(name, min(there)))
    return DataError(what, seen=say("Available: {parts}", parts=_some(there)), fix=fix)


def _no_data(name: str, paths: list[str]) -> DataError:
    visible = [re.sub(r"[\x00-\x1f\x7f]", "?", path) for path in paths if not path.startswith(".")]
    what = say("The dataset {name} has no data files that can be read.", name=name)
    fix = say("Choose a dataset with files of one of these kinds: {kinds}", kinds=" ".join(FILE_KINDS))
    if refused := [path for path in visible if path.lower().endswith(NEVER)]:
        what = say(
            "The dataset {name} has only files that are never opened here: code, pickles or archives.",
            name=name,
        )
        fix = say("Choose another dataset, or download and unpack it yourself and give the path of a file.")
    seen = (
        say("Available: {parts}", parts=_some(refused or visible))
        if visible
        else say("The repository is empty.")
    )
    return DataError(what, seen=seen, fix=fix)
