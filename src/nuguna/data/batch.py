"""Which examples are measured and which trained, in what order, and how they become tensors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from .encode import Encoded

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """A micro-batch as one row of tokens: documents end to end, nothing padded."""

    ids: Tensor  # (tokens,), int64
    positions: Tensor  # (tokens,), int64: the place within the document
    targets: Tensor  # (tokens,), bool: this token is trained, predicted from the one before it
    lengths: tuple[int, ...]  # tokens of each document


def split(items: Sequence[T], num_heldout: int, seed: int) -> tuple[list[T], list[T]]:
    """(train, held out): `num_heldout` items drawn by the seed are kept for measuring, never all of them."""
    num_heldout = min(num_heldout, len(items) - 1)
    if num_heldout <= 0:
        return list(items), list(items)[:64]  # a single example: there is nothing else to measure on
    drawn = set(random.Random(f"heldout-{seed}").sample(range(len(items)), num_heldout))
    return [x for i, x in enumerate(items) if i not in drawn], [x for i, x in enumerate(items) if i in drawn]


@lru_cache(maxsize=4)
def epoch_order(num_examples: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of one pass over the data, a pure function of seed and epoch: resuming needs no stored state."""
    order = list(range(num_examples))
    random.Random(f"order-{seed}-{epoch}").shuffle(order)
    return tuple(order)


def step_indices(num_examples: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of optimizer step `step` (from 0): a window of `batch_size` over the endless chain of epochs."""
    first = step * batch_size
    indices: list[int] = []
    while len(indices) < batch_size:
        epoch, place = divmod(first + len(indices), num_examples)
        order = epoch_order(num_examples, seed, epoch)
        indices.extend(order[place : place + batch_size - len(indices)])
    return indices


def micro_batches(examples: Sequence[Encoded], size: int, device: torch.device | str) -> Iterator[Batch]:
    """Micro-batches of at most `size` examples, like lengths together: they can go through attention side by side."""
    by_length = sorted(examples, key=lambda e: len(e.ids))
    for start in range(0, len(by_length), size):
        yield collate(by_length[start : start + size], device)


def collate(examples: Sequence[Encoded], device: torch.device | str) -> Batch:
    """Lay examples end to end."""
    return Batch(
        ids=torch.tensor([i for e in examples for i in e.ids]).to(device),
        positions=torch.cat([torch.arange(len(e.ids)) for e in examples]).to(device),
        targets=torch.tensor([t for e in examples for t in e.trained]).to(device),
        lengths=tuple(len(e.ids) for e in examples),
    )
