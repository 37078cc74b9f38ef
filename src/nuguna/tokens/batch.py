"""In what order examples are trained, and how they become tensors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UnsoundError
from ..machine.device_profile import DEVICE_PROFILES
from ..message import say
from .encode import Encoded
from .token_store import Tokens


@dataclass(frozen=True)
class Batch:
    """A micro-batch as one row of tokens: documents end to end, nothing padded.

    If all documents begin with the same tokens, these may stand once at the start of the row; the documents
    then go on from there.
    """

    ids: Tensor  # (tokens,), int64
    positions: Tensor  # (tokens,), int64: the place within the document
    # (trained,), int64: places in the row of the tokens that are trained, each predicted from the one before
    # it
    trained: Tensor
    lengths: tuple[int, ...]  # tokens of each document, without the shared prefix
    prefix: int = 0  # tokens at the start of the row that belong to every document

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents, a shared prefix counted for each."""
        return sum(self.lengths) + self.prefix * len(self.lengths)


@lru_cache(maxsize=4)
def epoch_order(num_examples: int, seed: int, epoch: int) -> tuple[int, ...]:
    """Return the order of one pass over the data, a pure function of seed and epoch: resuming needs no stored
    state.
    """
    order = list(range(num_examples))
    random.Random(f"order-{seed}-{epoch}").shuffle(order)
    return tuple(order)


def step_indices(num_examples: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Return the examples of optimizer step `step` (from 0): a window of `batch_size` over the endless chain
    of epochs.
    """
    first = step * batch_size
    indices: list[int] = []
    while len(indices) < batch_size:
        epoch, place = divmod(first + len(indices), num_examples)
        order = epoch_order(num_examples, seed, epoch)
        indices.extend(order[place : place + batch_size - len(indices)])
    return indices


def by_length(examples: Sequence[Encoded]) -> list[int]:
    """Return the order in which `micro_batches` lays examples out: from the shortest to the longest."""
    return sorted(range(len(examples)), key=lambda i: len(examples[i].ids))


def micro_batches(
    examples: Sequence[Encoded], most_tokens: int, device: torch.device | str, *, packed: bool
) -> Iterator[Batch]:
    """Micro-batches of at most `most_tokens` tokens, and of one example at least.

    Like lengths go together: little is padded, inside attention or, if not `packed`, everywhere. Packed
    examples that begin with the same tokens have these computed once, where that saves enough.
    """
    chosen: list[Encoded] = []
    tokens = 0
    for example in (examples[i] for i in by_length(examples)):
        length = len(example.ids)
        with_it = tokens + length if packed else (len(chosen) + 1) * length
        if chosen and with_it > most_tokens:
            yield _laid_out(chosen, device, packed)
            chosen, with_it = [], length
        chosen.append(example)
        tokens = with_it
    yield _laid_out(chosen, device, packed)


def require_whole(batches: Sequence[Batch], examples: Sequence[Encoded], batch_size: int) -> None:
    """Raise `UnsoundError` unless the micro-batches of a step hold its `batch_size` examples and every token
    that is trained.
    """
    num_examples = sum(len(batch.lengths) for batch in batches)
    num_trained, wanted = (
        sum(len(batch.trained) for batch in batches),
        sum(example.num_trained for example in examples),
    )
    if num_examples == batch_size and num_trained == wanted > 0:
        return
    raise UnsoundError(
        "whole_batch",
        say("A training step does not contain the examples it should."),
        seen=say(
            "{found} examples with {tokens} trained tokens instead of {size} with {wanted}",
            found=num_examples,
            tokens=num_trained,
            size=batch_size,
            wanted=wanted,
        ),
        fix=say("This is a bug in the program: please report it with the log file."),
    )


def _laid_out(chosen: Sequence[Encoded], device: torch.device | str, packed: bool) -> Batch:
    return collate(chosen, device, prefix=worthwhile_prefix(chosen, torch.device(device)) if packed else 0)


def micro_batch_tokens(examples: Sequence[Encoded], size: int) -> int:
    """Return tokens that a micro-batch may hold: as many as `size` examples of the greatest length, for which
    the plan has memory.
    """
    return size * (examples.max_length if isinstance(examples, Tokens) else max(len(e.ids) for e in examples))


def worthwhile_prefix(examples: Sequence[Encoded], device: torch.device) -> int:
    """Return how many first tokens all examples have in common, before the one that predicts the first
    trained; 0 if too few.

    The token before a trained one stays with its document, since each document may go on with another token.
    """
    firsts = [int(e.loss_mask.argmax()) for e in examples if e.num_trained]
    most = max(0, min([len(e.ids) - 1 for e in examples] + [first - 1 for first in firsts]))
    beginnings = np.stack([e.ids[:most] for e in examples])  # (examples, most)
    differs = (beginnings != beginnings[0]).any(axis=0)  # (most,)
    common = int(differs.argmax()) if differs.any() else most
    saved = common * (len(examples) - 1)
    least = DEVICE_PROFILES[device.type].min_saved_share * sum(len(e.ids) for e in examples)
    return common if saved > least else 0


def collate(examples: Sequence[Encoded], device: torch.device | str, *, prefix: int = 0) -> Batch:
    """Lay examples end to end; their first `prefix` tokens, which are the same in all, stand once before
    them.
    """
    first = examples[0]
    ids = np.concatenate([first.ids[:prefix], *(e.ids[prefix:] for e in examples)])
    targets = np.concatenate([np.zeros(prefix, dtype=np.bool_), *(e.loss_mask[prefix:] for e in examples)])
    positions = np.concatenate([np.arange(prefix), *(np.arange(prefix, len(e.ids)) for e in examples)])
    return Batch(
        ids=_tensor(ids).to(device),
        positions=_tensor(positions).to(device),
        trained=_tensor(np.flatnonzero(targets)).to(device),
        lengths=tuple(len(e.ids) - prefix for e in examples),
        prefix=prefix,
    )


def _tensor(values: NDArray[np.integer[Any]]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64, copy=False))
