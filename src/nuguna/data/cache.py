"""Encoded examples kept on disk, so that a second start on the same data need not encode them again.

The name of a file is a hash of all that the encoding depends on: another tokenizer, template, window or conversation makes
another. It holds the data as token ids, so only its owner may read it. Whatever goes wrong with it costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from .conversation import Conversation
from .encode import Encoded, encode

VERSION = 1  # raised whenever `encode` gives other tokens for the same conversation
MOST_BYTES = 2 * 2**30  # of all files together; the ones that were used longest ago are deleted


def cache_folder() -> Path:
    """Where encoded examples are kept: $XDG_CACHE_HOME/nuguna/tokens, ~/.cache/nuguna/tokens."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nuguna" / "tokens"


def encode_all(
    tokenizer: Any, conversations: Sequence[Conversation], max_length: int, end_ids: frozenset[int], folder: Path
) -> list[Encoded]:
    """Each conversation as `encode` makes it; from `folder`, if it was made before."""
    path = folder / f"{_key(tokenizer, conversations, max_length, end_ids)}.safetensors"
    if (found := _read(path)) is not None and len(found) == len(conversations):
        return found
    made = [encode(tokenizer, c, max_length, end_ids) for c in conversations]
    with contextlib.suppress(OSError):  # a full or read-only disk: it is encoded again next time
        _write(path, made)
        _keep_small(folder)
    return made


def _key(tokenizer: Any, conversations: Sequence[Conversation], max_length: int, end_ids: frozenset[int]) -> str:
    facts = [VERSION, tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template, tokenizer.special_tokens_map]
    digest = hashlib.sha256(json.dumps([*facts, max_length, sorted(end_ids)], sort_keys=True, default=str).encode())
    for conversation in conversations:
        digest.update(repr(conversation.turns).encode())
    return digest.hexdigest()


def _read(path: Path) -> list[Encoded] | None:
    try:
        parts = load_file(path)
        os.utime(path)  # it was used now
        ids, trained = parts["ids"].tolist(), parts["trained"].tolist()
        ends = parts["lengths"].cumsum(0).tolist()
        cut = parts["cut"].tolist()
    except (OSError, SafetensorError, KeyError):
        return None
    starts = [0, *ends]
    return [
        Encoded(tuple(ids[start:end]), tuple(trained[start:end]), is_cut)
        for start, end, is_cut in zip(starts, ends, cut, strict=False)
    ]


def _write(path: Path, examples: Sequence[Encoded]) -> None:
    parts = {
        "ids": torch.tensor([i for e in examples for i in e.ids], dtype=torch.int32),
        "trained": torch.tensor([t for e in examples for t in e.trained], dtype=torch.bool),
        "lengths": torch.tensor([len(e.ids) for e in examples]),
        "cut": torch.tensor([e.cut for e in examples], dtype=torch.bool),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(save(parts))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _keep_small(folder: Path) -> None:
    """Delete what was used longest ago, until the rest fits."""
    files = [(path.stat(), path) for path in folder.glob("*.safetensors")]
    room = MOST_BYTES
    for facts, path in sorted(files, key=lambda item: item[0].st_mtime, reverse=True):
        room -= facts.st_size
        if room < 0:
            path.unlink(missing_ok=True)
