"""Chosen and encoded examples kept on disk, so that a second start on the same data need not encode them
again.

The name of a file is a hash of all that it depends on: another tokenizer, template, window, seed or
conversation makes another. It holds the data as token ids, so only its owner may read it. Whatever goes wrong
with it costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..data.conversation_store import read_line, written_line
from ..data.dataset import Dataset
from ..disk.cache_folder import cache_folder, keep_small, no_room
from ..errors import DataError
from ..message import Message
from .choose import Drawn, ExampleCounts, SplitRules, choose
from .encode import Encoded, encode_many
from .token_store import Tokens, TokenWriter, open_tokens
from .tokenizer_protocol import Tokenizer

CACHE_VERSION = 6  # raised whenever other tokens come of the same conversation
MAX_BYTES = 4 * 2**30  # of all files together; the ones that were used longest ago are deleted


@dataclass(frozen=True)
class Chosen:
    """The examples of a run."""

    train: Sequence[Encoded]
    drawn: Drawn


def choose_or_recall(
    tokenizer: Tokenizer,
    dataset: Dataset,
    rules: SplitRules,
    eos_ids: frozenset[int],
    folder: Path | None = None,
) -> Chosen:
    """Return what `choose` draws and encodes; from `folder`, if it was made before. Raises `EnvironmentFault`
    when the disk is full.
    """
    folder = folder or cache_folder()
    path = folder / f"{_key(tokenizer, dataset, rules, eos_ids)}.arrow"
    if (found := _recalled(path, tokenizer, rules, eos_ids)) is not None:
        return found
    writer = TokenWriter(folder)
    try:
        drawn = choose(tokenizer, dataset, rules, eos_ids, writer.add)
        tokens = writer.finish(path, _metadata(drawn))
    except OSError as error:
        raise no_room(folder, error) from error
    with contextlib.suppress(OSError):
        keep_small(folder, "*.[as]*", MAX_BYTES)  # and the .safetensors of earlier versions
    return Chosen(tokens, drawn)


def _key(tokenizer: Tokenizer, dataset: Dataset, rules: SplitRules, eos_ids: frozenset[int]) -> str:
    facts = [
        CACHE_VERSION,
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.chat_template,
        tokenizer.special_tokens_map,
    ]
    digest = hashlib.sha256(
        json.dumps([*facts, asdict(rules), sorted(eos_ids)], sort_keys=True, default=str).encode()
    )
    digest.update(dataset.question_keys.tobytes())
    digest.update(dataset.content_keys.tobytes())
    digest.update(dataset.heldout_keys.tobytes())
    return digest.hexdigest()


def _metadata(drawn: Drawn) -> dict[str, str]:
    heldout = b"".join(written_line(conversation) for conversation, _ in drawn.heldout).decode()
    notes = [note.to_json() for note in drawn.notes]
    refusal = drawn.first_refusal
    said = (
        None
        if refusal is None
        else [part.to_json() if part else None for part in (refusal.what, refusal.seen, refusal.fix)]
    )
    rest = {"counts": asdict(drawn.counts), "notes": notes, "num_left": drawn.num_left, "refusal": said}
    return {"heldout": heldout, "rest": json.dumps(rest)}


def _recalled(path: Path, tokenizer: Tokenizer, rules: SplitRules, eos_ids: frozenset[int]) -> Chosen | None:
    try:
        tokens: Tokens = open_tokens(path)
        os.utime(path)  # it was used now
        conversations = [read_line(line.encode()) for line in tokens.metadata["heldout"].split("\n") if line]
        rest = json.loads(tokens.metadata["rest"])
        counts, notes = ExampleCounts(**rest["counts"]), tuple(map(Message.from_json, rest["notes"]))
        num_left, refusal = int(rest["num_left"]), _refusal(rest["refusal"])
    except (OSError, KeyError, ValueError, TypeError):
        return None
    examples = encode_many(tokenizer, conversations, rules.max_length, eos_ids)
    heldout = [(c, e) for c, e in zip(conversations, examples, strict=True) if isinstance(e, Encoded)]
    return Chosen(tokens, Drawn(heldout, num_left, counts, notes, refusal))


def _refusal(said: list[Any] | None) -> DataError | None:
    if said is None:
        return None
    what, seen, fix = (Message.from_json(part) if part else None for part in said)
    assert what is not None and fix is not None
    return DataError(what, seen=seen, fix=fix)
